// See image.h.
#include "image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

namespace skep {
namespace {

constexpr size_t kWatchedMax = 8;
constexpr uint32_t kHolePagesMin = 64;

// Marks the pages of the runs. False when a page is beyond the end, or named twice.
bool Mark(const std::vector<Run>& runs, size_t pages, std::vector<uint64_t>* seen) {
  for (const Run& run : runs) {
    if (run.count == 0 || size_t{run.first} + run.count > pages) return false;
    for (size_t page = run.first; page < size_t{run.first} + run.count; page++) {
      uint64_t bit = uint64_t{1} << (page % 64);
      if (((*seen)[page / 64] & bit) != 0) return false;
      (*seen)[page / 64] |= bit;
    }
  }
  return true;
}

std::vector<Run> Join(const std::vector<Run>& stored) {
  // The largest holes separate the pieces.
  std::vector<uint32_t> holes;
  for (size_t index = 1; index < stored.size(); index++) {
    uint32_t hole = stored[index].first - (stored[index - 1].first + stored[index - 1].count);
    if (hole >= kHolePagesMin) holes.push_back(hole);
  }
  std::sort(holes.begin(), holes.end(), std::greater<>());
  const uint32_t separating = holes.size() < kWatchedMax ? kHolePagesMin : holes[kWatchedMax - 2];
  std::vector<Run> joined;
  for (const Run& run : stored) {
    if (!joined.empty()) {
      Run& last = joined.back();
      uint32_t hole = run.first - (last.first + last.count);
      if (hole < separating || (joined.size() == kWatchedMax)) {
        last.count = run.first + run.count - last.first;
        continue;
      }
    }
    joined.push_back(run);
  }
  return joined;
}

int Duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 3); }

}  // namespace

std::shared_ptr<Image> Image::Open(int fd, int directFd, uint64_t offset, size_t bytes, std::vector<Run> stored, WorkingSet* workingSet, const char** problem) {
  auto image = std::make_shared<Image>();
  const size_t pages = bytes / kPage;
  image->stored_.resize((pages + 63) / 64);
  *problem = nullptr;
  if (!std::is_sorted(stored.begin(), stored.end(), [](const Run& a, const Run& b) { return a.first < b.first; }) || !Mark(stored, pages, &image->stored_)) {
    *problem = "pagesStored has an empty run, one beyond the end of the image, or pages twice or out of order";
    return nullptr;
  }
  if (workingSet != nullptr) {
    std::vector<uint64_t> seen((pages + 63) / 64);
    if (!Mark(workingSet->runs, pages, &seen) || !Mark(workingSet->zeroRuns, pages, &seen)) {
      *problem = "the working set has an empty run, one beyond the end of the image, or pages twice";
      return nullptr;
    }
  }
  image->offset = offset;
  image->bytes = bytes;
  image->watched = Join(stored);
  image->fd = Duplicate(fd);
  image->directFd = Duplicate(directFd);
  bool opened = image->fd >= 0 && image->directFd >= 0;
  if (workingSet != nullptr) {
    image->hasWorkingSet = true;
    image->workingSet = std::move(*workingSet);
    image->places_.assign(pages, kNowhere);
    for (const Run& run : image->workingSet.runs) {
      for (uint32_t page = run.first; page < run.first + run.count; page++) image->places_[page] = static_cast<uint32_t>(image->workingSet.pages++);
    }
    if (image->workingSet.fd >= 0) {
      image->workingSet.fd = Duplicate(image->workingSet.fd);
      image->workingSet.directFd = Duplicate(image->workingSet.directFd);
      opened = opened && image->workingSet.fd >= 0 && image->workingSet.directFd >= 0;
    }
  }
  if (!opened) {
    *problem = "a descriptor could not be duplicated: it is closed, or the process has too many (ulimit -n)";
    return nullptr;
  }
  return image;
}

Image::~Image() {
  for (int one : {fd, directFd}) {
    if (one >= 0) close(one);
  }
  if (hasWorkingSet) {
    for (int one : {workingSet.fd, workingSet.directFd}) {
      if (one >= 0) close(one);
    }
  }
  if (mapped_ != nullptr) munmap(const_cast<char*>(mapped_), bytes);
}

const char* Image::Mapped() {
  static std::mutex& mutex = *new std::mutex;
  std::lock_guard lock(mutex);
  if (mapped_ == nullptr) {
    void* at = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, static_cast<off_t>(offset));
    if (at != MAP_FAILED) mapped_ = static_cast<const char*>(at);
  }
  return mapped_;
}

Status Image::DropCache() {
  // The mapping itself stays, as the fault handler may be reading from it.
  if (mapped_ != nullptr) madvise(const_cast<char*>(mapped_), bytes, MADV_DONTNEED);
  for (int one : {fd, workingSet.fd}) {
    if (one < 0) continue;
    if (fsync(one) != 0) return Status::Errno("fsync");
    const int error = posix_fadvise(one, 0, 0, POSIX_FADV_DONTNEED);
    if (error != 0) return {"posix_fadvise", error};
  }
  return Status::Ok();
}

}  // namespace skep
