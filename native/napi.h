// Small help for N-API: arguments with checks, errors, and what the addon keeps per JavaScript thread.
#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common.h"
#include "range.h"
#include "restore.h"
#include "watchdog.h"

namespace v8 {
class Isolate;
}

namespace skep {

// A range, and the memory object that keeps its addresses alive for as long as it is known.
struct Slot {
  Range range;
  napi_ref memory = nullptr;  // Null: free.
  uint32_t generation = 1;
};

// What belongs to one JavaScript thread.
struct Environment {
  v8::Isolate* isolate = nullptr;
  std::shared_ptr<Watch> watch;
  std::vector<std::unique_ptr<Slot>> slots;
  std::vector<uint32_t> freeSlots;
  std::unordered_set<const char*> bases;  // Where the ranges begin: each memory is one range.
  std::vector<std::shared_ptr<Image>> images;
  // Memory shared with native.ts: answers in numbers, without an object each.
  double* figures = nullptr;
  int32_t* words = nullptr;
  napi_ref figuresRef = nullptr;
  napi_ref wordsRef = nullptr;
};

// The arguments of a call. After a failed check an exception is pending, `ok` is false, and values are empty.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info, size_t expected);
  napi_env env;
  bool ok = true;
  Environment& environment() const { return *environment_; }
  napi_value at(size_t index) const { return values_[index]; }

  double Number(size_t index, double min, double max, const char* name);
  // A number without a fraction.
  uint64_t Whole(size_t index, double min, double max, const char* name);
  int Descriptor(size_t index, const char* name) { return static_cast<int>(Whole(index, 0, 1 << 30, name)); }
  // A multiple of the page.
  uint64_t Aligned(size_t index, const char* name);
  std::vector<Run> Runs(size_t index, const char* name);
  bool IsFunction(size_t index);
  // Of a Uint8Array. Null after a failed check.
  const uint8_t* Bytes(size_t index, size_t* length);
  // The range behind a handle, with its address and size as they are now (A1). Null after a failed check.
  Slot* Known(size_t index);
  std::shared_ptr<Image> KnownImage(size_t index);

 private:
  static constexpr size_t kMax = 12;
  napi_value values_[kMax];
  Environment* environment_ = nullptr;
};

// Throws a mistake of the caller: a TypeError with the code ERR_INVALID_ARG_VALUE.
napi_value Refuse(napi_env env, const std::string& message);
// Throws what the system answered: an Error with `errno`.
napi_value Throw(napi_env env, const Status& status);
napi_value MakeError(napi_env env, const Status& status);
// Reads where the memory lies now. False when it is no page-aligned ArrayBuffer's.
bool Locate(napi_env env, napi_value memory, char** base, size_t* bytes);

void RegisterObjects(napi_env env, napi_value exports);
void RegisterGuard(napi_env env, napi_value exports);
void RegisterRanges(napi_env env, napi_value exports);
void RegisterTools(napi_env env, napi_value exports);
void Export(napi_env env, napi_value exports, const char* name, napi_callback callback);

}  // namespace skep
