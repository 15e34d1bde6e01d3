// See napi.h.
#include "napi.h"

#include <cstring>

namespace skep {

constexpr uint32_t kSlotBits = 20;

Arguments::Arguments(napi_env env, napi_callback_info info, size_t expected) : env(env) {
  size_t count = kMax;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values_, nullptr, &data);
  napi_get_instance_data(env, reinterpret_cast<void**>(&environment_));
  if (count < expected) {
    ok = false;
    Refuse(env, "too few arguments: " + std::to_string(count) + " of " + std::to_string(expected));
  }
}

double Arguments::Number(size_t index, double min, double max, const char* name) {
  double value = 0;
  if (!ok) return min;
  if (napi_get_value_double(env, values_[index], &value) != napi_ok || !(value >= min && value <= max)) {
    ok = false;
    Refuse(env, std::string(name) + " is not a number from " + std::to_string(min) + " to " + std::to_string(max));
    return min;
  }
  return value;
}

uint64_t Arguments::Whole(size_t index, double min, double max, const char* name) {
  const double number = Number(index, min, max, name);
  const uint64_t value = static_cast<uint64_t>(number);
  if (ok && static_cast<double>(value) != number) {
    ok = false;
    Refuse(env, std::string(name) + " is " + std::to_string(number) + ", which is no whole number");
  }
  return value;
}

uint64_t Arguments::Aligned(size_t index, const char* name) {
  const uint64_t value = Whole(index, 0, 9007199254740991.0, name);
  if (ok && value % kPage != 0) {
    ok = false;
    Refuse(env, std::string(name) + " is " + std::to_string(value) + ", which is no multiple of " + std::to_string(kPage));
  }
  return value;
}

std::vector<Run> Arguments::Runs(size_t index, const char* name) {
  if (!ok) return {};
  napi_typedarray_type type;
  size_t length = 0;
  void* data = nullptr;
  bool isTyped = false;
  napi_is_typedarray(env, values_[index], &isTyped);
  if (!isTyped || napi_get_typedarray_info(env, values_[index], &type, &length, &data, nullptr, nullptr) != napi_ok || type != napi_uint32_array || length % 2 != 0) {
    ok = false;
    Refuse(env, std::string(name) + " is not a Uint32Array of pairs");
    return {};
  }
  std::vector<Run> runs(length / 2);
  static_assert(sizeof(Run) == 8);
  if (length > 0) std::memcpy(runs.data(), data, length * 4);
  return runs;
}

bool Arguments::IsFunction(size_t index) {
  napi_valuetype type = napi_undefined;
  return ok && napi_typeof(env, values_[index], &type) == napi_ok && type == napi_function;
}

const uint8_t* Arguments::Bytes(size_t index, size_t* length) {
  static const uint8_t nothing = 0;
  if (!ok) return nullptr;
  napi_typedarray_type type;
  void* data = nullptr;
  bool isTyped = false;
  napi_is_typedarray(env, values_[index], &isTyped);
  if (!isTyped || napi_get_typedarray_info(env, values_[index], &type, length, &data, nullptr, nullptr) != napi_ok || type != napi_uint8_array) {
    ok = false;
    Refuse(env, "the bytes are not a Uint8Array");
    return nullptr;
  }
  return data == nullptr ? &nothing : static_cast<const uint8_t*>(data);
}

Slot* Arguments::Known(size_t index) {
  const uint64_t handle = static_cast<uint64_t>(Number(index, 0, 9007199254740991.0, "the range"));
  if (!ok) return nullptr;
  const size_t at = handle & ((1u << kSlotBits) - 1);
  Slot* slot = at < environment_->slots.size() ? environment_->slots[at].get() : nullptr;
  ok = false;
  if (slot == nullptr || slot->memory == nullptr || slot->generation != handle >> kSlotBits) {
    Refuse(env, "there is no such range: it has been dropped, or is of another thread");
    return nullptr;
  }
  if (slot->range.busy) {
    Refuse(env, "the range is being restored: wait for that first");
    return nullptr;
  }
  napi_value memory = nullptr;
  char* base = nullptr;
  size_t bytes = 0;
  napi_get_reference_value(env, slot->memory, &memory);
  if (!Locate(env, memory, &base, &bytes)) {
    Refuse(env, "the range's memory is no longer a page-aligned ArrayBuffer's");
    return nullptr;
  }
  Range& range = slot->range;
  if (base != range.base) {
    // It was moved by growing: the new memory is ordinary, and the old one is gone together with its mappings.
    range.Unwatch();
    environment_->bases.erase(range.base);
    environment_->bases.insert(base);
    range.base = base;
    range.fileBytes = 0;
    range.mapped = nullptr;
    range.overlaid = false;
  }
  range.bytes = bytes;
  ok = true;
  return slot;
}

std::shared_ptr<Image> Arguments::KnownImage(size_t index) {
  const size_t at = static_cast<size_t>(Number(index, 0, 1e9, "the image"));
  if (!ok) return nullptr;
  if (at >= environment_->images.size() || environment_->images[at] == nullptr) {
    ok = false;
    Refuse(env, "there is no such image: it has been closed, or is of another thread");
    return nullptr;
  }
  return environment_->images[at];
}

napi_value Refuse(napi_env env, const std::string& message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", message.c_str());
  return nullptr;
}

napi_value MakeError(napi_env env, const Status& status) {
  std::string text = std::string(status.call) + ": " + (status.error == 0 ? "the file ends too early" : std::strerror(status.error));
  napi_value message, error, number;
  napi_create_string_utf8(env, text.c_str(), text.size(), &message);
  napi_create_error(env, nullptr, message, &error);
  napi_create_int32(env, status.error, &number);
  napi_set_named_property(env, error, "errno", number);
  return error;
}

napi_value Throw(napi_env env, const Status& status) {
  napi_throw(env, MakeError(env, status));
  return nullptr;
}

bool Locate(napi_env env, napi_value memory, char** base, size_t* bytes) {
  napi_value buffer;
  bool isBuffer = false;
  void* data = nullptr;
  if (napi_get_named_property(env, memory, "buffer", &buffer) != napi_ok) return false;
  if (napi_is_arraybuffer(env, buffer, &isBuffer) != napi_ok || !isBuffer) return false;
  if (napi_get_arraybuffer_info(env, buffer, &data, bytes) != napi_ok) return false;
  *base = static_cast<char*>(data);
  return data != nullptr && *bytes > 0 && *bytes % kPage == 0 && reinterpret_cast<uintptr_t>(data) % kPage == 0;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

}  // namespace skep
