// Installing a working set: while a thread reads it, chunk by chunk, ahead of the caller; or from memory, by two threads.
#pragma once

#include <algorithm>

#include "common.h"
#include "faults.h"
#include "image.h"

namespace skep {

struct Prefetched {
  uint32_t pages = 0;
  uint32_t raced = 0;  // Pages that were there already.
  uint64_t bytesRead = 0;
  int64_t readNs = 0;     // The reader's time, which overlaps with the next.
  int64_t installNs = 0;  // The caller's.
};

// Reads a working set chunk by chunk, from now on, ahead of whoever takes them, into memory in which the disk can write large pieces.
// Chunks grow from 64 to 512 pages: the first one is there soon, and a large one lies in one huge page.
class ChunkReader {
 public:
  explicit ChunkReader(const WorkingSet& set);
  ~ChunkReader();  // Stops reading.
  struct Chunk {
    const char* data = nullptr;
    size_t pages = 0;  // 0: that was the last one.
  };
  // Waits for the next one; what the one before had may be overwritten now.
  Status Next(Chunk* chunk);
  int64_t readNs() const;

 private:
  struct State;
  State* state_;
  size_t next_ = 0;   // Chunks handed out.
  size_t first_ = 0;  // The pages in them.
};

// Installs pages that are all there, in the order of the runs, where nobody waits for one yet. A second thread helps where there is enough
// to do, and a core for it: a page is about 1 us of the kernel's work (memory, a copy, an entry of the page table), on two cores half of that.
Status InstallPages(char* base, const WorkingSet& set, const char* pages);

// Installs the whole working set, in the order of its file, into the watched memory at `base`.
// `progress` is called behind each chunk and says whether to go on. One thread: the disk is not faster than that, and the reader needs
// the other core.
template <typename Progress>
Status InstallWorkingSet(char* base, const WorkingSet& set, ChunkReader& reader, Prefetched* done, Progress progress) {
  size_t index = 0;
  uint32_t within = 0;  // Pages of runs[index] that are installed.
  for (;;) {
    ChunkReader::Chunk chunk;
    Status status = reader.Next(&chunk);
    done->readNs = reader.readNs();
    if (!status.ok() || chunk.pages == 0) return status;
    const int64_t startNs = NowNs();
    done->bytesRead += chunk.pages * kPage;
    for (size_t at = 0; at < chunk.pages;) {
      const Run& run = set.runs[index];
      const uint32_t count = static_cast<uint32_t>(std::min<size_t>(run.count - within, chunk.pages - at));
      uint32_t raced = 0;
      status = Install(base + (size_t{run.first} + within) * kPage, chunk.data + at * kPage, size_t{count} * kPage, &raced);
      if (!status.ok()) return status;
      done->raced += raced;
      done->pages += count - raced;
      at += count;
      within += count;
      if (within == run.count) {
        index++;
        within = 0;
      }
    }
    done->installNs += NowNs() - startNs;
    if (!progress(*done)) return Status::Ok();
  }
}

}  // namespace skep
