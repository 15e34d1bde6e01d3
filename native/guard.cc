// guard(run, deadlineMs): calls a function that may spin, and the jobs that it leaves in the microtask queue, until a deadline.
//
// This file uses V8 itself: N-API can neither terminate nor run the microtask queue. All four functions are plain exported
// symbols of v8.h; nothing depends on the layout of V8's objects. The addon's file name carries the modules ABI all the same.
#include <v8-isolate.h>
#include <v8-microtask-queue.h>

#include <cmath>

#include "napi.h"

namespace skep {
namespace {

// What is left in the queue when the function itself was stopped may be the host's: it gets this long.
constexpr int64_t kGraceNs = 10'000'000;

// SAFETY: on the isolate's thread, with no termination asked for any more (W1).
void ForgetTermination(napi_env env, v8::Isolate* isolate) {
  isolate->CancelTerminateExecution();
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  napi_value ignored;
  if (pending) napi_get_and_clear_last_exception(env, &ignored);
}

napi_value Guard(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 2);
  double deadlineMs = arguments.Number(1, -HUGE_VAL, HUGE_VAL, "the deadline");
  if (!arguments.ok) return nullptr;
  if (!arguments.IsFunction(0)) return Refuse(env, "guard needs a function");
  Environment& environment = arguments.environment();
  v8::Isolate* isolate = environment.isolate;
  Watch& watch = *environment.watch;
  if (watch.Inside()) return Refuse(env, "guard inside guard: one call has one deadline");
  // V8 does not run the queue from one of its jobs, so what this call leaves there would run later, unguarded.
  if (v8::MicrotasksScope::IsRunningMicrotasks(isolate)) return Refuse(env, "guard inside a microtask: leave it by process.nextTick first");

  // Jobs of others are not this call's fault.
  isolate->PerformMicrotaskCheckpoint();
  const double deadlineNs = deadlineMs * 1e6;
  watch.Enter(deadlineNs >= 9e18 ? kNever : deadlineNs < 1 ? 1 : static_cast<int64_t>(deadlineNs));
  napi_value receiver, result = nullptr, thrown = nullptr;
  napi_get_undefined(env, &receiver);
  bool stoppedInCall = false;
  if (napi_call_function(env, receiver, arguments.at(0), 0, nullptr, &result) != napi_ok) {
    stoppedInCall = isolate->IsExecutionTerminating();
    if (!stoppedInCall) napi_get_and_clear_last_exception(env, &thrown);
  }
  if (!stoppedInCall) isolate->PerformMicrotaskCheckpoint();
  Ended ended = watch.Leave();
  if (ended != Ended::kDone) {
    ForgetTermination(env, isolate);
    // V8 drops the queue when it is stopped in one of its jobs, and keeps it when it is stopped elsewhere.
    watch.Enter(NowNs() + kGraceNs);
    isolate->PerformMicrotaskCheckpoint();
    if (watch.Leave() != Ended::kDone) ForgetTermination(env, isolate);
    result = receiver;
  } else if (thrown != nullptr) {
    napi_throw(env, thrown);
  }
  environment.words[1] = static_cast<int32_t>(ended);
  return result;
}

// Called by release() of native.ts when it finds that a deadline passed meanwhile.
napi_value StopNow(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info, 0);
  arguments.environment().watch->StopNow();
  return nullptr;
}

}  // namespace

void RegisterGuard(napi_env env, napi_value exports) {
  Export(env, exports, "guard", Guard);
  Export(env, exports, "stopNow", StopNow);
}

}  // namespace skep
