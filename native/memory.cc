// See memory.h.
#include "memory.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <csignal>

#include <algorithm>
#include <mutex>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

namespace skep {

void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  // By which a missing page is told (faults.h).
  sigdelset(&all, SIGBUS);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

Status MapFile(char* base, size_t bytes, int fd, uint64_t offset) {
  void* at = mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  return at == MAP_FAILED ? Status::Errno("mmap of the image") : Status::Ok();
}

Status MapZero(char* base, size_t bytes) {
  void* at = mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return Status::Errno("mmap of zero pages");
  // A kernel without huge pages says EINVAL, and needs no telling.
  madvise(base, bytes, MADV_NOHUGEPAGE);
  return Status::Ok();
}

Status ReadAll(int fd, char* into, size_t bytes, uint64_t offset) {
  size_t done = 0;
  while (done < bytes) {
    ssize_t got = pread(fd, into + done, bytes - done, static_cast<off_t>(offset + done));
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (got == 0) {
      return Status::EndOfFile("pread");
    } else if (errno != EINTR) {
      return Status::Errno("pread");
    }
  }
  return Status::Ok();
}

Status ReadScattered(int fd, char* base, const Run* runs, size_t count, uint64_t offset) {
  std::vector<iovec> parts;
  size_t next = 0;
  while (next < count || !parts.empty()) {
    // What a short read left over stays in front; the rest of a batch is filled up.
    while (next < count && parts.size() < IOV_MAX) {
      parts.push_back({base + size_t{runs[next].first} * kPage, size_t{runs[next].count} * kPage});
      next++;
    }
    ssize_t got = preadv(fd, parts.data(), static_cast<int>(parts.size()), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Status::Errno("preadv");
    if (got == 0) return Status::EndOfFile("preadv");
    offset += static_cast<uint64_t>(got);
    size_t left = static_cast<size_t>(got);
    size_t full = 0;
    while (full < parts.size() && left >= parts[full].iov_len) left -= parts[full++].iov_len;
    parts.erase(parts.begin(), parts.begin() + static_cast<ptrdiff_t>(full));
    if (left > 0) {
      parts[0].iov_base = static_cast<char*>(parts[0].iov_base) + left;
      parts[0].iov_len -= left;
    }
  }
  return Status::Ok();
}

void Populate(char* base, const std::vector<Run>& runs) {
  for (const Run& run : runs) madvise(base + size_t{run.first} * kPage, size_t{run.count} * kPage, MADV_POPULATE_WRITE);
}

Status PresentPages(const char* base, size_t bytes, std::vector<uint32_t>* pages) {
  int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Status::Errno("open of /proc/self/pagemap");
  constexpr uint64_t kPresentOrSwapped = 3ULL << 62;
  std::vector<uint64_t> entries(8192);
  const size_t total = PagesOf(bytes);
  const size_t firstPage = reinterpret_cast<uintptr_t>(base) / kPage;
  Status status;
  for (size_t page = 0; page < total && status.ok(); page += entries.size()) {
    size_t count = std::min(entries.size(), total - page);
    status = ReadAll(fd, reinterpret_cast<char*>(entries.data()), count * 8, (firstPage + page) * 8);
    if (!status.ok()) break;
    for (size_t index = 0; index < count; index++) {
      if ((entries[index] & kPresentOrSwapped) != 0) pages->push_back(static_cast<uint32_t>(page + index));
    }
  }
  close(fd);
  return status;
}

int64_t CachedBytes(int fd, uint64_t offset, uint64_t bytes) {
  if (bytes == 0) return 0;
  struct { uint64_t off, len; } range{offset, bytes};
  struct { uint64_t cached, dirty, writeback, evicted, recentlyEvicted; } found{};
  if (syscall(SYS_cachestat, fd, &range, &found, 0) == 0) return static_cast<int64_t>(found.cached * kPage);
  // Before Linux 6.5: the same by mincore over a mapping.
  void* at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return -1;
  std::vector<unsigned char> present(PagesOf(bytes));
  int64_t cached = -1;
  if (mincore(at, bytes, present.data()) == 0) {
    cached = static_cast<int64_t>(std::count_if(present.begin(), present.end(), [](unsigned char one) { return (one & 1) != 0; }) * kPage);
  }
  munmap(at, bytes);
  return cached;
}

namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kKeptBytesMax = size_t{128} << 20;

struct Kept {
  char* data;
  size_t bytes;
};

// Never destroyed: helper threads may outlive the destructors of statics.
std::mutex& keptMutex = *new std::mutex;
std::vector<Kept>& kept = *new std::vector<Kept>;

}  // namespace

Buffer Buffer::Take(size_t bytes) {
  bytes = std::max(kHugePage, (bytes + kHugePage - 1) / kHugePage * kHugePage);
  {
    std::lock_guard lock(keptMutex);
    auto found = std::find_if(kept.begin(), kept.end(), [bytes](const Kept& one) { return one.bytes >= bytes; });
    if (found != kept.end()) {
      Buffer buffer(found->data, found->bytes);
      kept.erase(found);
      return buffer;
    }
  }
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return Buffer(nullptr, 0);
  madvise(at, bytes, MADV_HUGEPAGE);
  return Buffer(static_cast<char*>(at), bytes);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  std::lock_guard lock(keptMutex);
  size_t sum = bytes_;
  for (const Kept& one : kept) sum += one.bytes;
  if (sum <= kKeptBytesMax) {
    kept.push_back({data_, bytes_});
  } else {
    munmap(data_, bytes_);
  }
}

void Buffer::Trim() {
  std::lock_guard lock(keptMutex);
  for (const Kept& one : kept) munmap(one.data, one.bytes);
  kept.clear();
}

}  // namespace skep
