// The addon's functions about ranges and images: adopting, restoring, watching, dropping. native.ts says what each promises.
#include <algorithm>

#include "memory.h"
#include "napi.h"

namespace skep {
namespace {

constexpr uint32_t kSlotBits = 20;

napi_value Number(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

// adopt(memory): a handle. The memory object is kept alive until drop, so that its addresses are never anybody else's (A1).
napi_value Adopt(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  if (!arguments.ok) return nullptr;
  Environment& environment = arguments.environment();
  char* base = nullptr;
  size_t bytes = 0;
  if (!Locate(env, arguments.at(0), &base, &bytes)) return Refuse(env, "a range needs an object with a page-aligned, unshared `buffer`, such as a WebAssembly.Memory");
  if (!environment.bases.insert(base).second) return Refuse(env, "the memory is a range already");
  uint32_t at;
  if (!environment.freeSlots.empty()) {
    at = environment.freeSlots.back();
    environment.freeSlots.pop_back();
  } else {
    at = static_cast<uint32_t>(environment.slots.size());
    if (at >= 1u << kSlotBits) {
      environment.bases.erase(base);
      return Refuse(env, "too many ranges in this thread");
    }
    environment.slots.push_back(std::make_unique<Slot>());
  }
  Slot& slot = *environment.slots[at];
  slot.range = Range{};
  slot.range.base = base;
  slot.range.bytes = bytes;
  napi_create_reference(env, arguments.at(0), 1, &slot.memory);
  return Number(env, static_cast<double>(uint64_t{slot.generation} << kSlotBits | at));
}

napi_value Drop(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Slot* slot = arguments.Known(0);
  if (slot == nullptr) return nullptr;
  slot->range.Unwatch();
  slot->range.mapped = nullptr;
  arguments.environment().bases.erase(slot->range.base);
  napi_delete_reference(env, slot->memory);
  slot->memory = nullptr;
  slot->generation++;
  double handle = 0;
  napi_get_value_double(env, arguments.at(0), &handle);
  arguments.environment().freeSlots.push_back(static_cast<uint32_t>(static_cast<uint64_t>(handle) & ((1u << kSlotBits) - 1)));
  return nullptr;
}

// openImage(fd, directFd, offset, bytes, stored, hasWorkingSet, wsFd, wsDirectFd, wsOffset, wsRuns, wsZeroRuns)
napi_value OpenImage(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 11);
  const int fd = arguments.Descriptor(0, "imageFd");
  const int directFd = arguments.Descriptor(1, "imageDirectFd");
  const uint64_t offset = arguments.Aligned(2, "imageOffset");
  const uint64_t bytes = arguments.Aligned(3, "imageBytes");
  std::vector<Run> stored = arguments.Runs(4, "pagesStored");
  const int hasWorkingSet = static_cast<int>(arguments.Number(5, 0, 2, "hasWorkingSet"));
  WorkingSet set;
  if (hasWorkingSet == 1) {
    set.fd = arguments.Descriptor(6, "workingSet.fd");
    set.directFd = arguments.Descriptor(7, "workingSet.directFd");
    set.offset = arguments.Aligned(8, "workingSet.offset");
  }
  if (hasWorkingSet > 0) {
    set.runs = arguments.Runs(9, "workingSet.runs");
    set.zeroRuns = arguments.Runs(10, "workingSet.zeroRuns");
  }
  if (!arguments.ok) return nullptr;
  if (bytes == 0 || bytes > uint64_t{1} << 36) return Refuse(env, "imageBytes is " + std::to_string(bytes) + ", which is no size of a memory");
  const char* problem = nullptr;
  auto image = Image::Open(fd, directFd, offset, bytes, std::move(stored), hasWorkingSet > 0 ? &set : nullptr, &problem);
  if (image == nullptr) return Refuse(env, problem);
  auto& images = arguments.environment().images;
  auto free = std::find(images.begin(), images.end(), nullptr);
  if (free == images.end()) free = images.insert(images.end(), nullptr);
  *free = image;
  return Number(env, static_cast<double>(free - images.begin()));
}

// Ranges that are mapped from it or watched for it keep it until they are restored, reset or dropped.
napi_value CloseImage(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  if (arguments.KnownImage(0) == nullptr) return nullptr;
  double at = 0;
  napi_get_value_double(env, arguments.at(0), &at);
  arguments.environment().images[static_cast<size_t>(at)] = nullptr;
  return nullptr;
}

napi_value DropCache(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  auto image = arguments.KnownImage(0);
  if (image == nullptr) return nullptr;
  Status status = image->DropCache();
  return status.ok() ? nullptr : Throw(env, status);
}

void Report(const Environment& environment, const Figures& figures) {
  const double values[] = {figures.restoreUs, figures.readUs, figures.installUs, figures.bytesRead, figures.pagesPrefetched, figures.zeroPagesPrefetched};
  std::copy(std::begin(values), std::end(values), environment.figures);
}

// A restore on a thread of libuv's pool: reads of many megabytes must not stop the event loop.
struct Job {
  Slot* slot;
  Environment* environment;
  std::shared_ptr<Image> image;
  Mode mode;
  Figures figures;
  Status status;
  napi_async_work work = nullptr;
  napi_ref done = nullptr;
};

void RunJob(napi_env, void* data) {
  Job& job = *static_cast<Job*>(data);
  job.status = Restore(job.slot->range, job.image, job.mode, job.environment->watch, &job.figures);
}

void EndJob(napi_env env, napi_status, void* data) {
  std::unique_ptr<Job> job(static_cast<Job*>(data));
  job->slot->range.busy = false;
  napi_value done, receiver, argument;
  napi_get_undefined(env, &receiver);
  napi_get_reference_value(env, job->done, &done);
  if (job->status.ok()) {
    Report(*job->environment, job->figures);
    argument = receiver;
  } else {
    argument = MakeError(env, job->status);
  }
  napi_delete_reference(env, job->done);
  napi_delete_async_work(env, job->work);
  // What the callback throws stays pending, and Node makes it an uncaught exception.
  napi_call_function(env, receiver, done, 1, &argument, nullptr);
}

// restore(range, image, mode[, done]): at once, or on another thread, calling done(error?) from the event loop.
napi_value RestoreRange(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  Slot* slot = arguments.Known(0);
  auto image = arguments.KnownImage(1);
  const Mode mode = static_cast<Mode>(arguments.Number(2, 0, static_cast<double>(Mode::kCount) - 1, "the mode"));
  if (!arguments.ok) return nullptr;
  if (image->bytes > slot->range.bytes) {
    return Refuse(env, "the image has " + std::to_string(image->bytes) + " bytes, the memory " + std::to_string(slot->range.bytes));
  }
  const bool needsSet = mode != Mode::kLazy && mode != Mode::kLazyRandom && mode != Mode::kDemand && mode != Mode::kWriteProtect;
  if (needsSet && image->workingSet.fd < 0) return Refuse(env, "this mode needs a working set, and the image has none");
  Environment& environment = arguments.environment();
  if (arguments.IsFunction(3)) {
    auto* job = new Job{slot, &environment, image, mode, {}, {}};
    napi_value name;
    napi_create_string_utf8(env, "skep:restore", NAPI_AUTO_LENGTH, &name);
    napi_create_reference(env, arguments.at(3), 1, &job->done);
    napi_create_async_work(env, nullptr, name, RunJob, EndJob, job, &job->work);
    slot->range.busy = true;
    napi_queue_async_work(env, job->work);
    return nullptr;
  }
  Figures figures;
  Status status = Restore(slot->range, image, mode, environment.watch, &figures);
  if (!status.ok()) return Throw(env, status);
  Report(environment, figures);
  return nullptr;
}

// restoreFrom(range, image, pages)
napi_value RestoreRangeFrom(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 3);
  Slot* slot = arguments.Known(0);
  auto image = arguments.KnownImage(1);
  if (!arguments.ok) return nullptr;
  size_t length = 0;
  const uint8_t* pages = arguments.Bytes(2, &length);
  if (pages == nullptr) return nullptr;
  if (!image->hasWorkingSet || length != image->workingSet.pages * kPage) {
    return Refuse(env, "the pages have " + std::to_string(length) + " bytes, the runs " + std::to_string(image->workingSet.pages * kPage));
  }
  if (image->bytes > slot->range.bytes) return Refuse(env, "the image is larger than the memory");
  Figures figures;
  Status status = RestoreFrom(slot->range, image, reinterpret_cast<const char*>(pages), arguments.environment().watch, &figures);
  if (!status.ok()) return Throw(env, status);
  Report(arguments.environment(), figures);
  return nullptr;
}

napi_value ResetRange(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Slot* slot = arguments.Known(0);
  if (slot == nullptr) return nullptr;
  Status status = slot->range.Reset();
  return status.ok() ? nullptr : Throw(env, status);
}

napi_value ZeroRange(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Slot* slot = arguments.Known(0);
  if (slot == nullptr) return nullptr;
  Status status = slot->range.BecomeZero();
  return status.ok() ? nullptr : Throw(env, status);
}

napi_value Pages(napi_env env, const std::vector<uint32_t>& pages) {
  napi_value buffer, array;
  void* data = nullptr;
  napi_create_arraybuffer(env, pages.size() * 4, &data, &buffer);
  if (!pages.empty()) std::copy(pages.begin(), pages.end(), static_cast<uint32_t*>(data));
  napi_create_typedarray(env, napi_uint32_array, pages.size(), buffer, 0, &array);
  return array;
}

// faults(range, withOrder): fills the figures; returns the missing pages in the order of their faults when asked.
napi_value Faults(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  Slot* slot = arguments.Known(0);
  const bool withOrder = arguments.Number(1, 0, 1, "withOrder") == 1;
  if (!arguments.ok) return nullptr;
  double* figures = arguments.environment().figures;
  std::fill(figures, figures + 11, 0);
  std::vector<uint32_t> order;
  if (slot->range.watched != nullptr) {
    Watched& watched = *slot->range.watched;
    std::lock_guard lock(watched.mutex);
    figures[0] = static_cast<double>(watched.order.size() - watched.zeroPages);
    figures[1] = watched.zeroPages;
    figures[2] = static_cast<double>(watched.bytesRead);
    figures[3] = static_cast<double>(watched.servedNs) / 1000;
    figures[4] = watched.lost ? 1 : 0;
    figures[5] = watched.prefetching ? 1 : watched.prefetchFailed ? 2 : 0;
    figures[6] = watched.pagesPrefetched;
    figures[7] = watched.pagesRaced;
    figures[8] = static_cast<double>(watched.bytesPrefetched);
    figures[9] = static_cast<double>(watched.prefetchReadNs) / 1000;
    figures[10] = static_cast<double>(watched.prefetchNs) / 1000;
    if (withOrder) order = watched.order;
  }
  return withOrder ? Pages(env, order) : nullptr;
}

napi_value Present(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 1);
  Slot* slot = arguments.Known(0);
  if (slot == nullptr) return nullptr;
  std::vector<uint32_t> pages;
  Status status = PresentPages(slot->range.base, slot->range.bytes, &pages);
  return status.ok() ? Pages(env, pages) : Throw(env, status);
}

}  // namespace

void RegisterRanges(napi_env env, napi_value exports) {
  Export(env, exports, "adopt", Adopt);
  Export(env, exports, "drop", Drop);
  Export(env, exports, "openImage", OpenImage);
  Export(env, exports, "closeImage", CloseImage);
  Export(env, exports, "dropCache", DropCache);
  Export(env, exports, "restore", RestoreRange);
  Export(env, exports, "restoreFrom", RestoreRangeFrom);
  Export(env, exports, "reset", ResetRange);
  Export(env, exports, "zero", ZeroRange);
  Export(env, exports, "faults", Faults);
  Export(env, exports, "present", Present);
}

}  // namespace skep
