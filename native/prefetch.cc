// See prefetch.h.
#include "prefetch.h"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>

#include "memory.h"

namespace skep {
namespace {

constexpr size_t kChunkPagesMin = 64;
constexpr size_t kChunkPagesMax = 512;
// Of the largest size: one being read, one being installed, and two for when their speeds differ.
constexpr size_t kSlots = 4;

// Less than this is done when a second thread has hardly started.
constexpr size_t kTwoThreadsPagesMin = 1024;
// What one of two threads takes at a time.
constexpr size_t kSharePages = 128;

// The pages of a chunk, by its number: each twice as many as the one before.
size_t ChunkPages(size_t number) { return number >= 3 ? kChunkPagesMax : kChunkPagesMin << number; }

}  // namespace

struct ChunkReader::State {
  explicit State(const WorkingSet& set) : set(set), buffer(Buffer::Take(kSlots * kChunkPagesMax * kPage)) {}
  const WorkingSet& set;
  Buffer buffer;
  std::thread thread;

  std::mutex mutex;  // Guards what follows.
  std::condition_variable changed;
  size_t read = 0;   // Chunks that are there.
  size_t taken = 0;  // Chunks whose data nobody needs any more.
  bool stopped = false;
  Status status;
  int64_t readNs = 0;

  char* SlotOf(size_t number) const { return buffer.data() + number % kSlots * kChunkPagesMax * kPage; }

  void Run() {
    BlockSignals();
    uint64_t page = 0;
    for (size_t number = 0; page < set.pages; number++) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return stopped || number < taken + kSlots; });
        if (stopped) return;
      }
      const size_t count = std::min<size_t>(ChunkPages(number), set.pages - page);
      const int64_t startNs = NowNs();
      Status outcome = ReadAll(set.directFd, SlotOf(number), count * kPage, set.offset + page * kPage);
      page += count;
      std::lock_guard lock(mutex);
      readNs += NowNs() - startNs;
      if (outcome.ok()) read++;
      else status = outcome;
      changed.notify_one();
      if (!outcome.ok()) return;
    }
  }
};

ChunkReader::ChunkReader(const WorkingSet& set) : state_(new State(set)) {
  if (state_->buffer.data() == nullptr) state_->status = {"mmap of a buffer", ENOMEM};
  else state_->thread = std::thread([state = state_] { state->Run(); });
}

ChunkReader::~ChunkReader() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    state_->changed.notify_one();
  }
  if (state_->thread.joinable()) state_->thread.join();
  delete state_;
}

Status ChunkReader::Next(Chunk* chunk) {
  std::unique_lock lock(state_->mutex);
  // The number of the chunk that is wanted is how many have been handed out before.
  const size_t number = next_;
  if (number > 0) {
    state_->taken = number;
    state_->changed.notify_one();
  }
  if (first_ >= state_->set.pages) {
    *chunk = {};
    return Status::Ok();
  }
  state_->changed.wait(lock, [&] { return state_->read > number || !state_->status.ok(); });
  if (state_->read <= number) return state_->status;
  *chunk = {state_->SlotOf(number), std::min(ChunkPages(number), state_->set.pages - first_)};
  first_ += chunk->pages;
  next_++;
  return Status::Ok();
}

int64_t ChunkReader::readNs() const {
  std::lock_guard lock(state_->mutex);
  return state_->readNs;
}

namespace {

// Some runs, and where their pages are.
struct Share {
  size_t begin, end;
  const char* from;
};

// What two threads install together. The helper owns a part of it: it may come so late that all is done, and the memory is somebody else's.
// Whoever has taken a share may use `base`, the runs and the pages; nobody else may.
struct Together {
  char* base;
  const Run* runs;
  std::vector<Share> shares;
  std::atomic<size_t> next{0};
  std::atomic<size_t> done{0};

  std::mutex mutex;
  Status failed;

  void Work() {
    uint32_t raced = 0;
    for (size_t at = next++; at < shares.size(); at = next++) {
      auto [run, end, from] = shares[at];
      Status status;
      for (; run < end && status.ok(); run++) {
        const size_t bytes = size_t{runs[run].count} * kPage;
        status = Install(base + size_t{runs[run].first} * kPage, from, bytes, &raced);
        from += bytes;
      }
      if (!status.ok()) {
        std::lock_guard lock(mutex);
        failed = status;
      }
      done++;
      done.notify_one();
    }
  }
};

void* Help(void* owned) {
  std::unique_ptr<std::shared_ptr<Together>> together(static_cast<std::shared_ptr<Together>*>(owned));
  BlockSignals();
  (*together)->Work();
  return nullptr;
}

// Now. The system counts what runs or would, this thread included; a helper that has to wait for a core makes it slower than none.
bool IsCoreFree() {
  const int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[128];
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) return false;
  text[got] = 0;
  unsigned running = 0;
  return sscanf(text, "%*s %*s %*s %u/", &running) == 1 && running < std::thread::hardware_concurrency();
}

}  // namespace

Status InstallPages(char* base, const WorkingSet& set, const char* pages) {
  auto together = std::make_shared<Together>();
  together->base = base;
  together->runs = set.runs.data();
  for (size_t run = 0; run < set.runs.size();) {
    Share share{run, run, pages};
    for (size_t count = 0; run < set.runs.size() && count < kSharePages; run++) {
      count += set.runs[run].count;
      pages += size_t{set.runs[run].count} * kPage;
    }
    share.end = run;
    together->shares.push_back(share);
  }
  if (set.pages >= kTwoThreadsPagesMin && IsCoreFree()) {
    // Not a std::thread: where the process may have no more threads, one is enough.
    auto* owned = new std::shared_ptr<Together>(together);
    pthread_t helper;
    if (pthread_create(&helper, nullptr, Help, owned) == 0) pthread_detach(helper);
    else delete owned;
  }
  together->Work();
  // What the helper has taken.
  for (size_t done = together->done; done < together->shares.size(); done = together->done) together->done.wait(done);
  std::lock_guard lock(together->mutex);
  return together->failed;
}

}  // namespace skep
