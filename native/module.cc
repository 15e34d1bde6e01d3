// The addon's entry: what belongs to a JavaScript thread is made and taken down here; and the small tools.
#include <sys/resource.h>
#include <unistd.h>
#include <v8-isolate.h>

#include <cstring>

#include "crc32c.h"
#include "memory.h"
#include "napi.h"
#include "touched.h"

namespace skep {
namespace {

napi_value Number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

// share(figures, words): a Float64Array for answers; an Int32Array over shared memory, [0] the word of hold(), [1] how a guard ended.
napi_value Share(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  if (!arguments.ok) return nullptr;
  Environment& environment = arguments.environment();
  if (environment.figures != nullptr) return Refuse(env, "shared already");
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  if (napi_get_typedarray_info(env, arguments.at(0), &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_float64_array || length < 16) {
    return Refuse(env, "figures is not a Float64Array of 16");
  }
  double* figures = static_cast<double*>(data);
  if (napi_get_typedarray_info(env, arguments.at(1), &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_int32_array || length < 2) {
    return Refuse(env, "words is not an Int32Array of 2");
  }
  // SAFETY: the references keep both alive; buffers of JavaScript do not move. An int32_t and its atomic have one layout, and
  // V8's Atomics are the processor's.
  static_assert(sizeof(std::atomic<int32_t>) == 4 && std::atomic<int32_t>::is_always_lock_free);
  environment.words = static_cast<int32_t*>(data);
  napi_create_reference(env, arguments.at(0), 1, &environment.figuresRef);
  napi_create_reference(env, arguments.at(1), 1, &environment.wordsRef);
  environment.watch = MakeWatch(environment.isolate, reinterpret_cast<std::atomic<int32_t>*>(environment.words));
  environment.figures = figures;
  return nullptr;
}

// faultSupport(): undefined, or why there is no userfaultfd.
napi_value FaultSupported(napi_env env, napi_callback_info) {
  const FaultSupport& support = FaultsSupported();
  napi_value reason = nullptr;
  if (support.reason != nullptr) napi_create_string_utf8(env, support.reason, NAPI_AUTO_LENGTH, &reason);
  return reason;
}

// notingSupport(): undefined, or why touched pages cannot be told from the page table alone.
napi_value NotingSupported(napi_env env, napi_callback_info) {
  const char* missing = NotingMissing();
  napi_value reason = nullptr;
  if (missing != nullptr) napi_create_string_utf8(env, missing, NAPI_AUTO_LENGTH, &reason);
  return reason;
}

// cachedBytes(fd, offset, bytes): -1 where the kernel cannot say.
napi_value Cached(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  const int fd = arguments.Descriptor(0, "fd");
  const uint64_t offset = arguments.Aligned(1, "offset");
  const double bytes = arguments.Number(2, 0, 9007199254740991.0, "bytes");
  return arguments.ok ? Number(env, static_cast<double>(CachedBytes(fd, offset, static_cast<uint64_t>(bytes)))) : nullptr;
}

// readWhole(fd, offset, bytes): one large read into page-aligned memory, which is thrown away. µs: what the disk can do at best.
napi_value ReadWhole(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  const int fd = arguments.Descriptor(0, "fd");
  const uint64_t offset = arguments.Aligned(1, "offset");
  const uint64_t bytes = arguments.Aligned(2, "bytes");
  if (!arguments.ok) return nullptr;
  Buffer buffer = Buffer::Take(bytes);
  if (buffer.data() == nullptr) return Throw(env, {"mmap of a buffer", ENOMEM});
  const int64_t startNs = NowNs();
  Status status = ReadAll(fd, buffer.data(), bytes, offset);
  return status.ok() ? Number(env, MicrosSince(startNs)) : Throw(env, status);
}

napi_value Trim(napi_env, napi_callback_info) {
  Buffer::Trim();
  return nullptr;
}

// threadFaults(): the kernel's own counts for this thread, since it began: [0] without, [1] with reading from a disk.
napi_value ThreadFaults(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 0);
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  arguments.environment().figures[0] = static_cast<double>(usage.ru_minflt);
  arguments.environment().figures[1] = static_cast<double>(usage.ru_majflt);
  return nullptr;
}

// crc32c(bytes, crc, byTable)
napi_value Checksum(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  const uint32_t before = static_cast<uint32_t>(arguments.Number(1, 0, 4294967295.0, "crc"));
  const bool byTable = arguments.Number(2, 0, 1, "byTable") == 1;
  if (!arguments.ok) return nullptr;
  size_t length = 0;
  const uint8_t* bytes = arguments.Bytes(0, &length);
  if (bytes == nullptr) return nullptr;
  return Number(env, byTable ? Crc32cByTable(before, bytes, length) : Crc32c(before, bytes, length));
}

// At the end of a thread: nothing may be watched, terminated or served for it any more.
void TakeDown(napi_env, void* data, void*) {
  auto* environment = static_cast<Environment*>(data);
  for (const auto& slot : environment->slots) {
    if (slot->memory != nullptr) slot->range.Unwatch();
  }
  if (environment->watch != nullptr) environment->watch->Close();
  delete environment;
}

napi_value Initialise(napi_env env, napi_value exports) {
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) {
    napi_throw_error(env, nullptr, "pages of this machine do not have 4096 bytes");
    return nullptr;
  }
  auto* environment = new Environment;
  environment->isolate = v8::Isolate::GetCurrent();
  napi_set_instance_data(env, environment, TakeDown, nullptr);
  RegisterGuard(env, exports);
  RegisterRanges(env, exports);
  RegisterObjects(env, exports);
  Export(env, exports, "share", Share);
  Export(env, exports, "faultSupport", FaultSupported);
  Export(env, exports, "notingSupport", NotingSupported);
  Export(env, exports, "cachedBytes", Cached);
  Export(env, exports, "readWhole", ReadWhole);
  Export(env, exports, "trim", Trim);
  Export(env, exports, "threadFaults", ThreadFaults);
  Export(env, exports, "crc32c", Checksum);
  return exports;
}

}  // namespace
}  // namespace skep

NAPI_MODULE_INIT() { return skep::Initialise(env, exports); }
