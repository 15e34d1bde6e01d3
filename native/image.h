// A snapshot's files, opened once and shared by all restores from it: descriptors of our own, and the tables of pages.
#pragma once

#include <memory>
#include <vector>

#include "common.h"

namespace skep {

struct WorkingSet {
  int fd = -1;  // -1: only the tables are known, and the pages are handed in (a compressed file, unpacked by somebody else).
  int directFd = -1;
  uint64_t offset = 0;
  std::vector<Run> runs;      // In the order of the file.
  std::vector<Run> zeroRuns;  // Ascending.
  size_t pages = 0;
};

class Image {
 public:
  // Checks the tables against the size of the memory; duplicates the descriptors, so that their numbers may be closed and used again.
  // Returns null and says why in `problem`.
  static std::shared_ptr<Image> Open(int fd, int directFd, uint64_t offset, size_t bytes, std::vector<Run> stored, WorkingSet* workingSet, const char** problem);
  ~Image();

  bool IsStored(size_t page) const { return page < bytes / kPage && (stored_[page / 64] >> (page % 64) & 1) != 0; }
  // Where the page stands in the working set, in the order of its file; kNowhere when it is not in it.
  uint32_t PlaceOf(size_t page) const { return page < places_.size() ? places_[page] : kNowhere; }
  static constexpr uint32_t kNowhere = UINT32_MAX;
  // The whole image mapped for the fault handler, with the kernel's read-around: made at the first use. Null when it cannot be.
  const char* Mapped();
  // Writes back and drops what the page cache has of the files. Pages that somebody has mapped stay, but for our own mapping above.
  Status DropCache();

  int fd = -1;
  int directFd = -1;
  uint64_t offset = 0;
  size_t bytes = 0;
  bool hasWorkingSet = false;
  WorkingSet workingSet;
  // Stored pages, joined to few pieces: what userfaultfd is asked to watch. A hole between them needs no handler, as memory
  // without content reads as zero anyway; but each piece is a mapping of its own in the kernel, so small holes are inside.
  std::vector<Run> watched;

 private:
  std::vector<uint64_t> stored_;  // One bit per page.
  std::vector<uint32_t> places_;  // By page.
  const char* mapped_ = nullptr;
};

}  // namespace skep
