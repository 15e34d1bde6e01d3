// Missing pages, served in user space: one userfaultfd of the process, and a signal handler in the thread that touched the page.
//
// A range of anonymous memory is watched on behalf of one image. A thread that touches a page that is not there is interrupted by SIGBUS
// (UFFD_FEATURE_SIGBUS); the handler copies the page out of the image, counts it, and lets the thread go on. In the thesis (5.2.2, REAP's
// monitor) and in most others a thread of its own does that: it has to be woken, and has to wake the thread that waits, which on a
// virtual machine takes longer than the disk does.
//
//   F1. A page of a watched range is installed at most once, and only with its content of the image the range is watched for now:
//       unwatching waits for an answer under way, and an answer to an unwatched range is dropped.
//   F2. A page that cannot be read stops the code that runs (Watchdog::PageLost), and only then is a zero page installed.
//   F3. Nothing here or in the allocator touches watched memory while it holds a lock.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "common.h"
#include "image.h"
#include "memory.h"
#include "watchdog.h"

namespace skep {

// What the kernel lets this process have: faults of the program itself. A system call that is given the address of a missing page fails with EFAULT.
struct FaultSupport {
  bool available = false;
  const char* reason = nullptr;
};
const FaultSupport& FaultsSupported();

// How pages are fetched for the handler.
enum class Fetch {
  kRead,  // One page each: what is missing after a prefetch is scattered.
  kMap,   // From a mapping, with the kernel's read-around: as a lazily mapped memory would have it, for recording.
};

// One range while it is watched.
class Watched {
 public:
  Watched(char* base, std::shared_ptr<Image> image, Fetch fetch, std::shared_ptr<Watch> watch)
      : base(base), image(std::move(image)), fetch(fetch), watch(std::move(watch)) {}
  char* const base;
  const std::shared_ptr<Image> image;
  const Fetch fetch;
  const std::shared_ptr<Watch> watch;

  std::mutex mutex;  // Guards what follows.
  bool ended = false;
  std::vector<uint32_t> order;  // Numbers of the pages that were missing, in the order of their faults.
  uint32_t zeroPages = 0;       // Of these, pages that the image does not store.
  uint64_t bytesRead = 0;
  int64_t servedNs = 0;
  bool lost = false;

  // Pages that a thread installs while the code runs already.
  std::thread prefetcher;
  std::atomic<bool> stopPrefetch{false};
  std::atomic<bool> prefetching{false};
  std::atomic<uint32_t> placesPrefetched{0};  // Pages of the working set before this place are there. Image::kNowhere: no more come.
  std::atomic<uint32_t> pagesPrefetched{0};
  std::atomic<uint32_t> pagesRaced{0};  // The handler was first.
  std::atomic<uint64_t> bytesPrefetched{0};
  std::atomic<int64_t> prefetchReadNs{0};
  std::atomic<int64_t> prefetchNs{0};
  std::atomic<bool> prefetchFailed{false};  // The rest comes on demand.
};

// Watches the pieces; they must be anonymous memory that nothing else uses. On failure nothing is watched.
Status WatchRange(const std::shared_ptr<Watched>& watched, const std::vector<Run>& pieces);
// Ends it. The memory keeps what it has, and what is missing is zero from now on.
void UnwatchRange(const std::shared_ptr<Watched>& watched, size_t bytes);
// Installs one run of pages from `from`. Pages that are there already, or are mapped from elsewhere by now, stay: their count is added to `raced`.
Status Install(char* to, const char* from, size_t bytes, uint32_t* raced);

}  // namespace skep
