// See watchdog.h.
#include "watchdog.h"

#include <v8-isolate.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "common.h"

namespace skep {
namespace {

// Never destroyed: the thread may outlive the destructors of statics.
struct Watchdog {
  std::mutex mutex;
  std::condition_variable alarm;
  // When the thread looks again. Read without the mutex by Enter: see there.
  std::atomic<int64_t> alarmNs{kNever};
  std::vector<std::shared_ptr<Watch>> watches;
  bool started = false;

  void Run() {
    BlockSignals();
    std::unique_lock lock(mutex);
    for (;;) {
      // First the promise to sleep for ever, then the look at who entered before it: whoever enters after it sees it.
      alarmNs.store(kNever);
      int64_t next = kNever;
      const int64_t nowNs = NowNs();
      for (const auto& watch : watches) next = std::min(next, watch->Check(nowNs));
      if (next <= nowNs) continue;
      alarmNs.store(next);
      if (next == kNever) {
        alarm.wait(lock);
      } else {
        // steady_clock is CLOCK_MONOTONIC.
        alarm.wait_until(lock, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(next)));
      }
    }
  }
};
Watchdog& watchdog = *new Watchdog;

}  // namespace

void Watch::Enter(int64_t deadlineNs) {
  // Sequentially consistent with the store and the look of Watchdog::Run: one of the two sees the other.
  hold_->store(static_cast<int32_t>(Hold::kFree));
  state_.store(deadlineNs);
  if (deadlineNs < watchdog.alarmNs.load()) {
    std::lock_guard lock(watchdog.mutex);
    watchdog.alarm.notify_one();
  }
}

Ended Watch::Leave() {
  int64_t state = state_.load();
  for (;;) {
    if (state >= 0) {
      if (state_.compare_exchange_weak(state, kIdle)) return Ended::kDone;
    } else if (state == kStopping) {
      // The other thread is inside TerminateExecution; it takes no lock that we have.
      std::this_thread::yield();
      state = state_.load();
    } else {
      state_.store(kIdle);
      return state == kDeadline ? Ended::kDeadline : Ended::kPageLost;
    }
  }
}

bool Watch::Stop(int64_t from, int64_t to) {
  if (!state_.compare_exchange_strong(from, kStopping)) return false;
  for (;;) {
    int32_t hold = static_cast<int32_t>(Hold::kFree);
    if (hold_->compare_exchange_strong(hold, static_cast<int32_t>(Hold::kStopped))) {
      isolate_->TerminateExecution();
      break;
    }
    // It is due when it lets go (StopNow), or when it leaves without letting go.
    if (hold_->compare_exchange_strong(hold, static_cast<int32_t>(Hold::kDue))) break;
  }
  state_.store(to);
  return true;
}

void Watch::StopNow() {
  if (Inside() && hold_->exchange(static_cast<int32_t>(Hold::kStopped)) == static_cast<int32_t>(Hold::kDue)) isolate_->TerminateExecution();
}

void Watch::PageLost() {
  std::lock_guard lock(watchdog.mutex);
  if (closed_) return;
  int64_t state = state_.load();
  if (state > 0) Stop(state, kPageLost);
}

int64_t Watch::Check(int64_t nowNs) {
  int64_t state = state_.load();
  if (state <= 0 || closed_) return kNever;
  if (state > nowNs) return state;
  // Lost against Leave, or against the next Enter: look again at once.
  return Stop(state, kDeadline) ? kNever : nowNs;
}

void Watch::Close() {
  std::lock_guard lock(watchdog.mutex);
  closed_ = true;
  std::erase_if(watchdog.watches, [this](const auto& one) { return one.get() == this; });
}

std::shared_ptr<Watch> MakeWatch(v8::Isolate* isolate, std::atomic<int32_t>* hold) {
  auto watch = std::make_shared<Watch>(isolate, hold);
  std::lock_guard lock(watchdog.mutex);
  watchdog.watches.push_back(watch);
  if (!watchdog.started) {
    watchdog.started = true;
    std::thread([] { watchdog.Run(); }).detach();
  }
  return watch;
}

}  // namespace skep
