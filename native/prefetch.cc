// See prefetch.h.
#include "prefetch.h"

#include <atomic>
#include <condition_variable>
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

Status InstallPages(char* base, const WorkingSet& set, const char* pages) {
  const std::vector<Run>& runs = set.runs;
  // A share is some runs, and where their pages are.
  struct Share {
    size_t begin, end;
    const char* from;
  };
  std::vector<Share> shares;
  for (size_t run = 0; run < runs.size();) {
    Share share{run, run, pages};
    for (size_t count = 0; run < runs.size() && count < kSharePages; run++) count += runs[run].count, pages += size_t{runs[run].count} * kPage;
    share.end = run;
    shares.push_back(share);
  }
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  auto install = [&](Status* status) {
    uint32_t raced = 0;
    for (size_t at = next++; at < shares.size() && !failed; at = next++) {
      auto [run, end, from] = shares[at];
      for (; run < end; run++) {
        const size_t bytes = size_t{runs[run].count} * kPage;
        *status = Install(base + size_t{runs[run].first} * kPage, from, bytes, true, &raced);
        if (!status->ok()) {
          failed = true;
          return;
        }
        from += bytes;
      }
    }
  };
  Status mine, others;
  std::thread helper;
  if (set.pages >= kTwoThreadsPagesMin && std::thread::hardware_concurrency() > 1) {
    helper = std::thread([&] {
      BlockSignals();
      install(&others);
    });
  }
  install(&mine);
  if (helper.joinable()) helper.join();
  return mine.ok() ? others : mine;
}

}  // namespace skep
