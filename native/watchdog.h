// Stops code at its deadline: JavaScript and WebAssembly that spin never come back to the event loop by themselves.
//
// One thread for the process sleeps until the next deadline of any JavaScript thread. Entering and leaving are two atomic
// operations: the thread is woken only when a deadline is earlier than its alarm, so calls whose deadlines are about equally
// far away wake it once per such a time, not once per call.
//
//   W1. A termination that was asked for is over before Leave returns: it can never hit code outside of Enter and Leave.
//   W2. Nothing is terminated before its deadline, and nothing runs past it by more than a thread needs to wake up.
//   W3. Nothing is terminated while it holds: a host function that writes a frame is not stopped between two halves of it. What was
//       due meanwhile is done at the release.
//
// Holding is one compare-and-swap by JavaScript itself (Atomics, on memory that both see), not a call of the addon:
//
//   kFree ──hold──▶ kHeld ──release──▶ kFree
//     │               │ deadline
//     │ deadline      ▼
//     ▼             kDue ──release finds it──▶ Watch::StopNow
//   kStopped ◀────────┘
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace v8 {
class Isolate;
}

namespace skep {

// How a guarded call ended; shared with src/pager/native.ts.
enum class Ended : int32_t { kDone = 0, kDeadline = 1, kPageLost = 2 };
// Values of the word by which JavaScript holds; shared with src/pager/native.ts.
enum class Hold : int32_t { kFree = 0, kHeld = 1, kDue = 2, kStopped = 3 };

// One JavaScript thread. Only its own thread enters and leaves.
class Watch {
 public:
  // `hold` lies in memory of JavaScript, which stays until Close.
  Watch(v8::Isolate* isolate, std::atomic<int32_t>* hold) : isolate_(isolate), hold_(hold) {}

  void Enter(int64_t deadlineNs);
  // Afterwards nothing terminates any more. If something did, the caller has to cancel it.
  Ended Leave();
  bool Inside() const { return state_.load(std::memory_order_relaxed) != kIdle; }
  // By the thread itself, when it finds at a release that it is due.
  void StopNow();

  // From any thread: stops what runs, because its memory cannot be served (F2 of faults.h).
  void PageLost();
  // By the watchdog: stops what runs if its deadline has passed, and says when to look again.
  int64_t Check(int64_t nowNs);
  // The isolate is going away.
  void Close();

 private:
  // A state below zero says what happened; above, it is the deadline.
  static constexpr int64_t kIdle = 0, kStopping = -1, kDeadline = -2, kPageLost = -3;
  bool Stop(int64_t from, int64_t to);

  v8::Isolate* const isolate_;
  std::atomic<int32_t>* const hold_;
  std::atomic<int64_t> state_{kIdle};
  bool closed_ = false;
};

constexpr int64_t kNever = INT64_MAX;

// Registers a JavaScript thread; it is watched until Close.
std::shared_ptr<Watch> MakeWatch(v8::Isolate* isolate, std::atomic<int32_t>* hold);

}  // namespace skep
