// The addon's functions about memory that is passed between processes. transfer/shared-memory.ts says what each promises.
//
// Buffers are V8's backing stores, and not N-API's external buffers: those are taken down by the event loop of their thread, which would be
// held up by it, and cannot be transferred to another thread. A backing store is deleted by whatever thread collects it, needs no turn of the
// loop, and V8 counts its bytes as it counts those of every ArrayBuffer.
#include <sys/stat.h>
#include <unistd.h>
#include <v8-array-buffer.h>
#include <v8-isolate.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#include "memory.h"
#include "napi.h"
#include "shared-memory.h"

namespace skep {
namespace {

// The kernel's usual bound is 65,530 mappings, V8's own among them.
constexpr size_t kMappingsMax = 16384;
constexpr double kBytesMax = 1099511627776.0;  // 1 TB: more is a mistake.

// SAFETY: a napi_value is a v8::Local by the contract of Node's own js_native_api_v8.h, with which every addon of this modules ABI is built.
static_assert(sizeof(v8::Local<v8::ArrayBuffer>) == sizeof(napi_value));
napi_value FromV8(v8::Local<v8::ArrayBuffer> local) {
  napi_value value;
  std::memcpy(&value, &local, sizeof(value));
  return value;
}
v8::Local<v8::ArrayBuffer> ToV8(napi_value value) {
  v8::Local<v8::ArrayBuffer> local;
  std::memcpy(&local, &value, sizeof(value));
  return local;
}

napi_value Number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

void Set(napi_env env, napi_value object, const char* name, double value) { napi_set_named_property(env, object, name, Number(env, value)); }

struct Bytes {
  char* base = nullptr;
  size_t length = 0;
};

bool BufferOf(napi_env env, napi_value value, Bytes* bytes) {
  bool isBuffer = false;
  void* data = nullptr;
  if (napi_is_arraybuffer(env, value, &isBuffer) != napi_ok || !isBuffer) return false;
  if (napi_get_arraybuffer_info(env, value, &data, &bytes->length) != napi_ok) return false;
  bytes->base = static_cast<char*>(data);
  return true;
}

// Buffers that nobody has any more hold mappings until they are collected; when there are many, or no more can be had, now.
template <typename Make>
Status WithRoom(const Environment& environment, Make make) {
  static std::atomic<size_t> collectAt{kMappingsMax};
  if (Mapping::Count() >= collectAt) {
    environment.isolate->LowMemoryNotification();
    collectAt = std::max(kMappingsMax, Mapping::Count() * 2);
  }
  Status status = make();
  if (status.error != ENOMEM && status.error != EMFILE && status.error != ENFILE) return status;
  environment.isolate->LowMemoryNotification();
  return make();
}

void Unmap(void*, size_t, void* mapping) { delete static_cast<Mapping*>(mapping); }

napi_value BufferIn(const Environment& environment, Mapping* mapping) {
  // SAFETY: V8 deletes the store once, when no buffer of any thread has it. The addon is never unloaded (-z nodelete), so Unmap is there then.
  std::shared_ptr<v8::BackingStore> store = v8::ArrayBuffer::NewBackingStore(mapping->base(), mapping->bytes(), Unmap, mapping);
  return FromV8(v8::ArrayBuffer::New(environment.isolate, std::move(store)));
}

// The length that memory or a file must have for so many bytes of it to be mapped, from the offset on (B3).
bool HasBytes(int fd, uint64_t bytes, uint64_t offset = 0) {
  struct stat found;
  return fstat(fd, &found) == 0 && S_ISREG(found.st_mode) && static_cast<uint64_t>(found.st_size) >= offset + bytes;
}

napi_value SocketPair(napi_env env, napi_callback_info) {
  int sockets[2];
  Status status = MakeSocketPair(sockets);
  if (!status.ok()) return Throw(env, status);
  napi_value pair;
  napi_create_object(env, &pair);
  Set(env, pair, "ours", sockets[0]);
  Set(env, pair, "theirs", sockets[1]);
  return pair;
}

// pass(socket, number, fd)
napi_value Pass(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  const int socket = arguments.Descriptor(0, "the socket");
  const uint32_t number = static_cast<uint32_t>(arguments.Whole(1, 0, 4294967295.0, "the number"));
  const int fd = arguments.Descriptor(2, "fd");
  if (!arguments.ok) return nullptr;
  Status status = PassMemory(socket, number, fd);
  if (!status.ok() && status.error != EAGAIN) return Throw(env, status);
  napi_value passed;
  napi_get_boolean(env, status.ok(), &passed);
  return passed;
}

// receive(socket)
napi_value Receive(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  const int socket = arguments.Descriptor(0, "the socket");
  if (!arguments.ok) return nullptr;
  uint32_t number = 0;
  int fd = -1;
  Status status = ReceiveMemory(socket, &number, &fd);
  if (!status.ok()) return Throw(env, status);
  if (fd < 0) return nullptr;
  napi_value received;
  napi_create_object(env, &received);
  Set(env, received, "number", number);
  Set(env, received, "fd", fd);
  return received;
}

// allocate(bytes)
napi_value Allocate(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  const size_t bytes = arguments.Whole(0, 1, kBytesMax, "bytes");
  if (!arguments.ok) return nullptr;
  Mapping* mapping = nullptr;
  Status status = WithRoom(arguments.environment(), [&] { return Mapping::Allocate(bytes, &mapping); });
  return status.ok() ? BufferIn(arguments.environment(), mapping) : Throw(env, status);
}

// isAllocated(buffer)
napi_value IsAllocated(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Bytes bytes;
  if (!arguments.ok) return nullptr;
  napi_value answer;
  napi_get_boolean(env, BufferOf(env, arguments.at(0), &bytes) && Mapping::IsAllocated(bytes.base, bytes.length), &answer);
  return answer;
}

// Of an argument that may be left out.
bool IsTrue(const Arguments& arguments, size_t index) {
  bool value = false;
  return napi_get_value_bool(arguments.env, arguments.at(index), &value) == napi_ok && value;
}

// seal(buffer, isShown)
napi_value Seal(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Bytes bytes;
  if (!arguments.ok) return nullptr;
  int fd = -1;
  Status status;
  if (BufferOf(env, arguments.at(0), &bytes)) status = Mapping::Seal(bytes.base, bytes.length, IsTrue(arguments, 1), &fd);
  if (!status.ok()) return Throw(env, status);
  return fd < 0 ? Refuse(env, "the buffer is not of allocate, or has been sealed") : Number(env, fd);
}

// copy(bytes)
napi_value Copy(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  size_t length = 0;
  const uint8_t* bytes = arguments.Bytes(0, &length);
  if (bytes == nullptr) return nullptr;
  int fd = -1;
  Status status = WithRoom(arguments.environment(), [&] { return CreateMemory(&fd); });
  if (!status.ok()) return Throw(env, status);
  status = FillMemory(fd, reinterpret_cast<const char*>(bytes), length);
  if (status.ok()) status = SealMemory(fd);
  if (status.ok()) return Number(env, fd);
  close(fd);
  return Throw(env, status);
}

napi_value Create(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 0);
  int fd = -1;
  Status status = WithRoom(arguments.environment(), [&] { return CreateMemory(&fd); });
  return status.ok() ? Number(env, fd) : Throw(env, status);
}

// sealFd(fd)
napi_value SealDescriptor(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  const int fd = arguments.Descriptor(0, "fd");
  if (!arguments.ok) return nullptr;
  Status status = SealMemory(fd);
  return status.ok() ? nullptr : Throw(env, status);
}

// check(fd)
napi_value Check(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  const int fd = arguments.Descriptor(0, "fd");
  if (!arguments.ok) return nullptr;
  uint64_t bytes = 0;
  const char* reason = CheckMemory(fd, &bytes);
  napi_value answer, text;
  napi_create_object(env, &answer);
  if (reason == nullptr) {
    Set(env, answer, "bytes", static_cast<double>(bytes));
  } else {
    napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &text);
    napi_set_named_property(env, answer, "reason", text);
  }
  return answer;
}

// A buffer over a part of sealed memory, or of a file.
napi_value Mapped(const Arguments& arguments, int fd, size_t bytes, uint64_t offset, bool isShown) {
  napi_env env = arguments.env;
  if (!HasBytes(fd, bytes, offset)) return Refuse(env, "what is to be mapped has less than " + std::to_string(bytes) + " bytes" + (offset == 0 ? "" : " from " + std::to_string(offset) + " on"));
  if (bytes == 0) {
    napi_value empty;
    napi_create_arraybuffer(env, 0, nullptr, &empty);
    return empty;
  }
  Mapping* mapping = nullptr;
  Status status = WithRoom(arguments.environment(), [&] { return Mapping::MapPrivate(fd, bytes, offset, &mapping); });
  if (!status.ok()) return Throw(env, status);
  uint64_t length = 0;
  if (isShown && CheckMemory(fd, &length) == nullptr && length == bytes) mapping->Shows(fd);
  return BufferIn(arguments.environment(), mapping);
}

// map(fd, bytes, isShown)
napi_value Map(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  const int fd = arguments.Descriptor(0, "fd");
  const size_t bytes = arguments.Whole(1, 0, kBytesMax, "bytes");
  return arguments.ok ? Mapped(arguments, fd, bytes, 0, IsTrue(arguments, 2)) : nullptr;
}

// shown(buffer)
napi_value Shown(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Bytes bytes;
  if (!arguments.ok || !BufferOf(env, arguments.at(0), &bytes)) return nullptr;
  const int fd = Mapping::Shown(bytes.base, bytes.length);
  return fd < 0 ? nullptr : Number(env, fd);
}

// mapPart(fd, offset, bytes)
napi_value MapPart(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  const int fd = arguments.Descriptor(0, "fd");
  const uint64_t offset = arguments.Aligned(1, "offset");
  const size_t bytes = arguments.Whole(2, 0, kBytesMax, "bytes");
  return arguments.ok ? Mapped(arguments, fd, bytes, offset, false) : nullptr;
}

// mapInto(buffer, offset, fd, bytes)
napi_value MapInto(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 4);
  const uint64_t offset = arguments.Aligned(1, "offset");
  const int fd = arguments.Descriptor(2, "fd");
  const size_t bytes = arguments.Whole(3, 0, kBytesMax, "bytes");
  Bytes into;
  if (!arguments.ok) return nullptr;
  // SAFETY: of all buffers only those of WebAssembly's memories cannot be detached, and they consist of whole pages of V8's own, which nobody
  // else has a part of; malloc's have neighbours. The buffer is an argument, so it lives until this call ends.
  if (!BufferOf(env, arguments.at(0), &into) || ToV8(arguments.at(0))->IsDetachable() || reinterpret_cast<uintptr_t>(into.base) % kPage != 0) {
    return Refuse(env, "the buffer is not a WebAssembly.Memory's");
  }
  const size_t mapped = PagesOf(bytes) * kPage;
  if (offset > into.length || mapped > into.length - offset) {
    return Refuse(env, std::to_string(bytes) + " bytes at " + std::to_string(offset) + " do not lie in a memory of " + std::to_string(into.length));
  }
  if (!HasBytes(fd, bytes)) return Refuse(env, "what is to be mapped has less than " + std::to_string(bytes) + " bytes");
  if (bytes == 0) return nullptr;
  for (const auto& slot : arguments.environment().slots) {
    if (slot->memory == nullptr || slot->range.base != into.base) continue;
    if (slot->range.busy) return Refuse(env, "the memory is being restored: wait for that first");
    slot->range.Overlay(into.length);
  }
  Status status = MapFile(into.base + offset, mapped, fd, 0);
  return status.ok() ? nullptr : Throw(env, status);
}

}  // namespace

void RegisterObjects(napi_env env, napi_value exports) {
  napi_value part;
  napi_create_object(env, &part);
  Export(env, part, "socketPair", SocketPair);
  Export(env, part, "pass", Pass);
  Export(env, part, "receive", Receive);
  Export(env, part, "allocate", Allocate);
  Export(env, part, "isAllocated", IsAllocated);
  Export(env, part, "seal", Seal);
  Export(env, part, "copy", Copy);
  Export(env, part, "create", Create);
  Export(env, part, "sealFd", SealDescriptor);
  Export(env, part, "check", Check);
  Export(env, part, "map", Map);
  Export(env, part, "mapPart", MapPart);
  Export(env, part, "shown", Shown);
  Export(env, part, "mapInto", MapInto);
  napi_set_named_property(env, exports, "sharedMemory", part);
}

}  // namespace skep
