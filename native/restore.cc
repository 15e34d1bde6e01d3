// See restore.h. Sections are those of the thesis of Ustiugov, Data-Centric Serverless Computing (2022).
#include "restore.h"

#include <sys/mman.h>

#include <algorithm>
#include <thread>

#include "memory.h"
#include "prefetch.h"
#include "touched.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

namespace skep {
namespace {

// As many as the thesis gives its monitors (5.3.2: "16 hardware threads available").
constexpr size_t kFaultThreads = 16;

Status Watching(Range& range, const std::shared_ptr<Image>& image, Fetch fetch, const std::shared_ptr<Watch>& watch, const std::vector<Run>& pieces) {
  auto watched = std::make_shared<Watched>(range.base, image, fetch, watch);
  Status status = WatchRange(watched, pieces);
  if (status.ok()) range.watched = watched;
  return status;
}

std::vector<Run> Whole(const Image& image) { return {{0, static_cast<uint32_t>(image.bytes / kPage)}}; }

// Zero pages that were touched when it was recorded: their memory is there before they are. Before anything is watched.
void PopulateZeroPages(Range& range, const WorkingSet& set, Figures* figures) {
  Populate(range.base, set.zeroRuns);
  for (const Run& run : set.zeroRuns) figures->zeroPagesPrefetched += run.count;
}

// The mapping alone: every page is the kernel's fault, with its read-around (5.3.2, "vanilla snapshots").
Status Lazy(Range& range, const std::shared_ptr<Image>& image, bool random) {
  Status status = range.BecomeFile(image);
  if (status.ok() && random && madvise(range.base, image->bytes, MADV_RANDOM) != 0) return Status::Errno("madvise");
  return status;
}

// Page-sized faults of the recorded pages, by several threads at once, from the image (5.3.2, "parallel PFs"). The paper installs by
// userfaultfd; here the kernel maps the pages, so that it works without it, too.
Status ParallelFaults(Range& range, const std::shared_ptr<Image>& image, Figures* figures) {
  Status status = Lazy(range, image, true);
  if (!status.ok()) return status;
  std::vector<uint32_t> pages;
  for (const Run& run : image->workingSet.runs) {
    for (uint32_t page = run.first; page < run.first + run.count; page++) pages.push_back(page);
  }
  std::atomic<size_t> next{0};
  std::atomic<int> failed{0};
  auto fetch = [&] {
    for (size_t at = next++; at < pages.size() && failed == 0; at = next++) {
      if (madvise(range.base + size_t{pages[at]} * kPage, kPage, MADV_POPULATE_READ) != 0 && errno != EINTR) failed = errno;
    }
  };
  std::vector<std::thread> threads;
  for (size_t index = 1; index < std::min(kFaultThreads, pages.size()); index++) {
    threads.emplace_back([&fetch] {
      BlockSignals();
      fetch();
    });
  }
  fetch();
  for (std::thread& thread : threads) thread.join();
  madvise(range.base, image->bytes, MADV_NORMAL);
  if (failed != 0) return {"madvise (MADV_POPULATE_READ, Linux 5.14)", failed};
  figures->pagesPrefetched = static_cast<double>(pages.size());
  figures->bytesRead = static_cast<double>(pages.size() * kPage);
  return Status::Ok();
}

// Pages that are there already, run by run. All of the image is watched, as in the paper, and as UFFDIO_COPY needs it.
Status InstallFrom(Range& range, const std::shared_ptr<Image>& image, const char* from, const std::shared_ptr<Watch>& watch, Figures* figures) {
  const WorkingSet& set = image->workingSet;
  const int64_t startNs = NowNs();
  Status status = range.BecomeZero();
  if (!status.ok()) return status;
  PopulateZeroPages(range, set, figures);
  status = Watching(range, image, Fetch::kRead, watch, Whole(*image));
  if (status.ok()) status = InstallPages(range.base, set, from);
  figures->installUs = MicrosSince(startNs);
  figures->pagesPrefetched = static_cast<double>(set.pages);
  return status;
}

// The working set in one read, then installed run by run (5.2.2.2); direct is REAP (5.2.2.3), otherwise through the page cache (5.3.2,
// "WS file").
Status ReadAndInstall(Range& range, const std::shared_ptr<Image>& image, bool direct, const std::shared_ptr<Watch>& watch, Figures* figures) {
  const WorkingSet& set = image->workingSet;
  const size_t bytes = set.pages * kPage;
  Buffer buffer = Buffer::Take(bytes);
  if (buffer.data() == nullptr) return Status::Errno("mmap of a buffer");
  const int64_t startNs = NowNs();
  Status status = ReadAll(direct ? set.directFd : set.fd, buffer.data(), bytes, set.offset);
  if (!status.ok()) return status;
  figures->readUs = MicrosSince(startNs);
  figures->bytesRead = static_cast<double>(bytes);
  return InstallFrom(range, image, buffer.data(), watch, figures);
}

// Ours: the disk writes into the memory itself. One scattered read per 1024 runs, no buffer, no copy; watched only afterwards, since
// a read into watched memory would fault. Large holes are not watched at all: the kernel's own zero page is the right answer.
Status Direct(Range& range, const std::shared_ptr<Image>& image, const std::shared_ptr<Watch>& watch, Figures* figures) {
  const WorkingSet& set = image->workingSet;
  int64_t startNs = NowNs();
  Status status = range.BecomeZero();
  if (!status.ok()) return status;
  PopulateZeroPages(range, set, figures);
  figures->installUs = MicrosSince(startNs);
  startNs = NowNs();
  status = ReadScattered(set.directFd, range.base, set.runs.data(), set.runs.size(), set.offset);
  if (!status.ok()) return status;
  figures->readUs = MicrosSince(startNs);
  startNs = NowNs();
  status = Watching(range, image, Fetch::kRead, watch, image->watched);
  figures->installUs += MicrosSince(startNs);
  figures->bytesRead = static_cast<double>(set.pages * kPage);
  figures->pagesPrefetched = static_cast<double>(set.pages);
  return status;
}

// Less than this is read sooner than a second thread has started, or the code has waited for one.
constexpr size_t kChunkedPagesMin = 512;

// Ours: as REAP, but one chunk is installed while the next ones are read. The first ones are read while the memory is made ready.
Status Pipelined(Range& range, const std::shared_ptr<Image>& image, const std::shared_ptr<Watch>& watch, Figures* figures) {
  if (image->workingSet.pages < kChunkedPagesMin) return ReadAndInstall(range, image, true, watch, figures);
  ChunkReader reader(image->workingSet);
  Status status = range.BecomeZero();
  if (!status.ok()) return status;
  PopulateZeroPages(range, image->workingSet, figures);
  status = Watching(range, image, Fetch::kRead, watch, Whole(*image));
  if (!status.ok()) return status;
  Prefetched done;
  status = InstallWorkingSet(range.base, image->workingSet, reader, &done, [](const Prefetched&) { return true; });
  figures->readUs = static_cast<double>(done.readNs) / 1000;
  figures->installUs = static_cast<double>(done.installNs) / 1000;
  figures->bytesRead = static_cast<double>(done.bytesRead);
  figures->pagesPrefetched = done.pages;
  return status;
}

// FaaSnap (EuroSys 2022): the code runs at once, and the pages come in the order in which it will want them. Where it is faster than they
// are, it waits for them (faults.cc).
Status Concurrent(Range& range, const std::shared_ptr<Image>& image, const std::shared_ptr<Watch>& watch, Figures* figures) {
  if (image->workingSet.pages < kChunkedPagesMin) return ReadAndInstall(range, image, true, watch, figures);
  Status status = range.BecomeZero();
  if (!status.ok()) return status;
  PopulateZeroPages(range, image->workingSet, figures);
  status = Watching(range, image, Fetch::kRead, watch, Whole(*image));
  if (!status.ok()) return status;
  Watched* watched = range.watched.get();
  watched->prefetching = true;
  watched->prefetcher = std::thread([watched] {
    BlockSignals();
    const int64_t startNs = NowNs();
    Prefetched all;
    ChunkReader reader(watched->image->workingSet);
    Status ended = InstallWorkingSet(watched->base, watched->image->workingSet, reader, &all, [watched](const Prefetched& done) {
      watched->pagesPrefetched = done.pages;
      watched->pagesRaced = done.raced;
      watched->bytesPrefetched = done.bytesRead;
      watched->prefetchReadNs = done.readNs;
      watched->placesPrefetched = done.pages + done.raced;
      watched->placesPrefetched.notify_all();
      return !watched->stopPrefetch;
    });
    watched->prefetchFailed = !ended.ok();
    watched->prefetchNs = NowNs() - startNs;
    watched->prefetching = false;
    // Whoever waits for what did not come fetches it.
    if (watched->placesPrefetched < watched->image->workingSet.pages) watched->placesPrefetched = Image::kNowhere;
    watched->placesPrefetched.notify_all();
  });
  return status;
}

Status Demand(Range& range, const std::shared_ptr<Image>& image, const std::shared_ptr<Watch>& watch) {
  Status status = range.BecomeZero();
  return status.ok() ? Watching(range, image, Fetch::kMap, watch, Whole(*image)) : status;
}

// As lazily mapped, with the same read-ahead from the disk; but each page is a fault of its own, so that they can be told apart.
Status Noted(Range& range, const std::shared_ptr<Image>& image) {
  if (NotingMissing() != nullptr) return {"userfaultfd for write-protection", ENOSYS};
  Status status = range.BecomeFile(image);
  if (status.ok()) status = NoteRange(range.base, image->bytes);
  if (status.ok()) range.notedBytes = image->bytes;
  return status;
}

}  // namespace

Status RestoreFrom(Range& range, const std::shared_ptr<Image>& image, const char* pages, const std::shared_ptr<Watch>& watch, Figures* figures) {
  Status status = InstallFrom(range, image, pages, watch, figures);
  if (!status.ok()) range.Unwatch();
  figures->restoreUs = figures->installUs;
  return status;
}

Status Restore(Range& range, const std::shared_ptr<Image>& image, Mode mode, const std::shared_ptr<Watch>& watch, Figures* figures) {
  const int64_t startNs = NowNs();
  Status status;
  switch (mode) {
    case Mode::kLazy: status = Lazy(range, image, false); break;
    case Mode::kLazyRandom: status = Lazy(range, image, true); break;
    case Mode::kParallelFaults: status = ParallelFaults(range, image, figures); break;
    case Mode::kWorkingSet: status = ReadAndInstall(range, image, false, watch, figures); break;
    case Mode::kReap: status = ReadAndInstall(range, image, true, watch, figures); break;
    case Mode::kDirect: status = Direct(range, image, watch, figures); break;
    case Mode::kConcurrent: status = Concurrent(range, image, watch, figures); break;
    case Mode::kDemand: status = Demand(range, image, watch); break;
    case Mode::kPipelined: status = Pipelined(range, image, watch, figures); break;
    case Mode::kWriteProtect: status = Noted(range, image); break;
    case Mode::kCount: break;
  }
  if (!status.ok()) range.Unwatch();
  figures->restoreUs = MicrosSince(startNs);
  return status;
}

}  // namespace skep
