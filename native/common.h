// What all files of the addon share: the page, the outcome of a system call, time, and the pairs of which run tables consist.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <ctime>

namespace skep {

// Images, working sets and userfaultfd all work in pages of this size; module.cc refuses a machine with another one.
constexpr size_t kPage = 4096;

// The outcome of an operation. Failures are values: the helper threads must never throw, and N-API is C.
struct Status {
  const char* call = nullptr;  // The system call or step that failed, or null.
  int error = 0;               // errno; 0 with a `call` means that the file ended too early.

  bool ok() const { return call == nullptr; }
  static Status Ok() { return {}; }
  static Status Errno(const char* call) { return {call, errno}; }
  static Status EndOfFile(const char* call) { return {call, 0}; }
};

// Pages `first` to `first + count - 1`.
struct Run {
  uint32_t first;
  uint32_t count;
};

inline int64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

inline double MicrosSince(int64_t startNs) { return static_cast<double>(NowNs() - startNs) / 1000.0; }

inline size_t PagesOf(size_t bytes) { return (bytes + kPage - 1) / kPage; }

// Helper threads leave signals to the threads that Node has for them.
void BlockSignals();

}  // namespace skep
