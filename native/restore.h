// The restore modes: ways to give a range the content of an image (src/pager/restore.ts says what each is for).
#pragma once

#include <memory>

#include "common.h"
#include "range.h"

namespace skep {

// Shared with src/pager/native.ts, which lists them in this order.
enum class Mode : int32_t { kLazy, kParallelFaults, kWorkingSet, kReap, kDirect, kConcurrent, kDemand, kLazyRandom, kPipelined, kWriteProtect, kCount };

struct Figures {
  double restoreUs = 0;
  double readUs = 0;     // Of these, waiting for the disk; 0 where reading and installing are one.
  double installUs = 0;  // Of these, mapping and installing pages.
  double bytesRead = 0;
  double pagesPrefetched = 0;
  double zeroPagesPrefetched = 0;
};

// Gives the whole range the content of the image. Works on any thread, as long as the range is left alone (Range::busy).
// On failure the content is undefined, and nothing of the range is watched.
Status Restore(Range& range, const std::shared_ptr<Image>& image, Mode mode, const std::shared_ptr<Watch>& watch, Figures* figures);

// The same from the pages of the working set themselves, in the order of its runs: for a compressed one.
Status RestoreFrom(Range& range, const std::shared_ptr<Image>& image, const char* pages, const std::shared_ptr<Watch>& watch, Figures* figures);

}  // namespace skep
