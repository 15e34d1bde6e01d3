// See shared-memory.h.
#include "shared-memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace skep {
namespace {

constexpr size_t kHugePage = 2 << 20;
// From here on memory gets huge pages when it is filled. They save 1 us and more for each 4 KB (clearing it, a fault or a search, letting it go); but asking for them waits
// for all processors, which takes up to some milliseconds where those are busy. Measured: 1 MB is written in 0.26 ms, 2 MB in 0.5, 4 MB in 1.2; 2 to 4 MB
// of huge pages take 0.2 ms while nothing else runs, and 1.3 to 5 where other programs do.
constexpr size_t kHugeFrom = 2 * kHugePage;
// At once: each call waits for all processors first, so not one by one; and memory that is too large is to be noticed early.
constexpr size_t kCollapsedBytes = size_t{128} << 20;
// At once: whoever maps something in the meantime has to wait.
constexpr size_t kUnmappedBytes = size_t{8} << 20;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

size_t MappedBytes(size_t bytes) { return PagesOf(bytes) * kPage; }

// Maps so that huge pages of the file can be mapped as such: 50 entries of the page table for 100 MB, not 25,600.
Status MapAligned(int fd, size_t bytes, int kind, char** at, uint64_t offset = 0) {
  const size_t mapped = MappedBytes(bytes);
  void* found;
  if (mapped < kHugePage) {
    found = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, fd, static_cast<off_t>(offset));
    if (found == MAP_FAILED) return Status::Errno("mmap");
  } else {
    char* const room = static_cast<char*>(mmap(nullptr, mapped + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (room == MAP_FAILED) return Status::Errno("mmap");
    // SAFETY: the room is nobody else's, and what is mapped or given back lies in it.
    char* const base = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(room) + kHugePage - 1) / kHugePage * kHugePage);
    found = mmap(base, mapped, PROT_READ | PROT_WRITE, kind | MAP_FIXED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
    if (found == MAP_FAILED) {
      Status failed = Status::Errno("mmap");
      munmap(room, mapped + kHugePage);
      return failed;
    }
    if (base > room) munmap(room, static_cast<size_t>(base - room));
    munmap(base + mapped, static_cast<size_t>(room + kHugePage - base));
  }
  *at = static_cast<char*>(found);
  return Status::Ok();
}

// Gives empty memory its pages now, as huge ones, whatever the machine's setting for shared memory is (only "deny" forbids it). The
// kernel makes none where there is no page at all, so one of each is touched. False where there are too few (or before Linux 6.1): the pages
// that are missing come when they are touched, and are small.
bool MakeHuge(char* base, size_t bytes) {
  for (size_t from = 0; from < bytes; from += kCollapsedBytes) {
    const size_t end = std::min(bytes, from + kCollapsedBytes);
    for (size_t at = from; at < end; at += kHugePage) static_cast<volatile char*>(base)[at] = 0;
    if (madvise(base + from, end - from, MADV_COLLAPSE) != 0) return false;
  }
  return true;
}

size_t HugeBytes(size_t bytes) { return bytes / kHugePage * kHugePage; }

Status WriteAll(int fd, const char* bytes, size_t count, size_t offset) {
  while (count > 0) {
    const ssize_t put = pwrite(fd, bytes, count, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Status::Errno("pwrite of memory");
    bytes += put;
    offset += static_cast<size_t>(put);
    count -= static_cast<size_t>(put);
  }
  return Status::Ok();
}

// Never destroyed: backing stores are deleted by threads that outlive the destructors of statics.
std::mutex& allocatedMutex = *new std::mutex;
std::unordered_map<const char*, Mapping*>& allocated = *new std::unordered_map<const char*, Mapping*>;
std::unordered_map<const char*, Mapping*>& shown = *new std::unordered_map<const char*, Mapping*>;
// Each has a descriptor, of which the code of the process wants some, too.
constexpr size_t kShownMax = 256;
std::atomic<size_t> count{0};

// Whether a private mapping has no page of its own: what was written to has become anonymous memory (Documentation/admin-guide/mm/pagemap.rst).
bool IsUntouched(const char* base, size_t bytes) {
  constexpr uint64_t kSwapped = uint64_t{1} << 62, kPresent = uint64_t{1} << 63, kOfFile = uint64_t{1} << 61;
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  std::vector<uint64_t> entries(8192);
  const size_t first = reinterpret_cast<uintptr_t>(base) / kPage, end = first + PagesOf(bytes);
  bool isUntouched = true;
  for (size_t page = first; page < end && isUntouched; page += entries.size()) {
    const size_t wanted = std::min(entries.size(), end - page);
    isUntouched = ReadAll(fd, reinterpret_cast<char*>(entries.data()), wanted * sizeof(uint64_t), page * sizeof(uint64_t)).ok() &&
                  std::none_of(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(wanted), [](uint64_t entry) { return (entry & (kPresent | kSwapped)) != 0 && (entry & kOfFile) == 0; });
  }
  close(fd);
  return isUntouched;
}

}  // namespace

Status CreateMemory(int* fd) {
  *fd = memfd_create("skep-object", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  return *fd < 0 ? Status::Errno("memfd_create") : Status::Ok();
}

Status SealMemory(int fd) { return fcntl(fd, F_ADD_SEALS, kSeals) == 0 ? Status::Ok() : Status::Errno("sealing memory"); }

const char* CheckMemory(int fd, uint64_t* bytes) {
  const int seals = fcntl(fd, F_GET_SEALS);
  struct stat found;
  struct statfs system;
  if (seals < 0 || fstat(fd, &found) != 0 || fstatfs(fd, &system) != 0) return "it is no memory";
  // Memory of hugetlbfs can be sealed, too; but it is of a size that the machine has reserved, and cannot be unmapped in our pages.
  if (system.f_type != TMPFS_MAGIC) return "it is no ordinary memory";
  if ((seals & kSeals) != kSeals) return "it is not sealed against every change";
  *bytes = static_cast<uint64_t>(found.st_size);
  return nullptr;
}

Status FillMemory(int fd, const char* bytes, size_t count) {
  if (ftruncate(fd, static_cast<off_t>(count)) != 0) return Status::Errno("ftruncate of memory");
  size_t done = 0;
  if (count >= kHugeFrom) {
    char* at = nullptr;
    Status status = MapAligned(fd, count, MAP_SHARED, &at);
    if (!status.ok()) return status;
    if (MakeHuge(at, HugeBytes(count))) {
      done = HugeBytes(count);
      std::memcpy(at, bytes, done);
    }
    munmap(at, MappedBytes(count));
  }
  // Small pages: write() takes them without clearing them first, and without a fault for each.
  Status status = WriteAll(fd, bytes + done, count - done, done);
  if (status.ok() || status.error != EFAULT) return status;
  // The source has pages that are served by userfaultfd to the program only, and not to its system calls.
  char* at = nullptr;
  status = MapAligned(fd, count, MAP_SHARED, &at);
  if (!status.ok()) return status;
  std::memcpy(at + done, bytes + done, count - done);
  munmap(at, MappedBytes(count));
  return Status::Ok();
}

Mapping::Mapping(char* base, size_t bytes, int fd) : base_(base), bytes_(bytes), fd_(fd) { count++; }

Mapping::~Mapping() {
  if (shown_ >= 0) {
    {
      // SAFETY: before the addresses can be another mapping's.
      std::lock_guard lock(allocatedMutex);
      shown.erase(base_);
    }
    close(shown_);
  }
  if (fd_ >= 0) {
    {
      // SAFETY: before the addresses can be another mapping's.
      std::lock_guard lock(allocatedMutex);
      allocated.erase(base_);
    }
    close(fd_);
  }
  const size_t mapped = MappedBytes(bytes_);
  for (size_t at = 0; at < mapped; at += kUnmappedBytes) munmap(base_ + at, std::min(kUnmappedBytes, mapped - at));
  count--;
}

size_t Mapping::Count() { return count; }

Status Mapping::Allocate(size_t bytes, Mapping** made) {
  if (bytes / kPage > static_cast<size_t>(sysconf(_SC_PHYS_PAGES))) return {"allocating more memory than the machine has", ENOMEM};
  int fd;
  Status status = CreateMemory(&fd);
  if (!status.ok()) return status;
  char* base = nullptr;
  status = ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? MapAligned(fd, bytes, MAP_SHARED, &base) : Status::Errno("ftruncate of memory");
  if (!status.ok()) {
    close(fd);
    return status;
  }
  if (bytes >= kHugeFrom) MakeHuge(base, HugeBytes(bytes));
  *made = new Mapping(base, bytes, fd);
  std::lock_guard lock(allocatedMutex);
  allocated[base] = *made;
  return Status::Ok();
}

Status Mapping::MapPrivate(int fd, size_t bytes, uint64_t offset, Mapping** made) {
  char* base = nullptr;
  Status status = MapAligned(fd, bytes, MAP_PRIVATE, &base, offset);
  if (status.ok()) *made = new Mapping(base, bytes, -1);
  return status;
}

bool Mapping::IsAllocated(const char* base, size_t bytes) {
  std::lock_guard lock(allocatedMutex);
  auto found = allocated.find(base);
  return found != allocated.end() && found->second->bytes_ == bytes;
}

void Mapping::Shows(int fd) {
  std::lock_guard lock(allocatedMutex);
  if (shown_ >= 0 || shown.size() >= kShownMax) return;
  shown_ = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (shown_ >= 0) shown[base_] = this;
}

int Mapping::Shown(const char* base, size_t bytes) {
  std::lock_guard lock(allocatedMutex);
  auto found = shown.find(base);
  if (found == shown.end() || found->second->bytes_ != bytes || !IsUntouched(base, bytes)) return -1;
  return fcntl(found->second->shown_, F_DUPFD_CLOEXEC, 3);
}

Status Mapping::Seal(const char* base, size_t bytes, bool isShown, int* fd) {
  Mapping* mapping;
  {
    std::lock_guard lock(allocatedMutex);
    auto found = allocated.find(base);
    *fd = -1;
    if (found == allocated.end() || found->second->bytes_ != bytes) return Status::Ok();
    mapping = found->second;
    allocated.erase(found);
  }
  // SAFETY (B1): the caller has the buffer, so the mapping is alive. The kernel replaces it in one step, and other threads of the
  // owner see either. Should it fail after the old one has gone, going on would be a crash at a touch much later, or worse.
  const int sealed = std::exchange(mapping->fd_, -1);
  if (mmap(mapping->base_, MappedBytes(bytes), PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_NORESERVE, sealed, 0) == MAP_FAILED) {
    Status failed = Status::Errno("mmap");
    unsigned char present;
    if (mincore(mapping->base_, kPage, &present) != 0) std::abort();
    close(sealed);
    return failed;
  }
  Status status = SealMemory(sealed);
  if (status.ok()) {
    if (isShown) mapping->Shows(sealed);
    *fd = sealed;
  } else {
    close(sealed);
  }
  return status;
}

Status MakeSocketPair(int sockets[2]) {
  return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0 ? Status::Ok() : Status::Errno("socketpair");
}

Status PassMemory(int socket, uint32_t number, int fd) {
  uint8_t packet[4] = {static_cast<uint8_t>(number), static_cast<uint8_t>(number >> 8), static_cast<uint8_t>(number >> 16), static_cast<uint8_t>(number >> 24)};
  iovec part{packet, sizeof(packet)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  ssize_t sent;
  do sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? Status::Errno("sendmsg of memory") : Status::Ok();
}

Status ReceiveMemory(int socket, uint32_t* number, int* fd) {
  *fd = -1;
  // One byte and one descriptor too many: so a message with more is told from a right one. What finds no room, the kernel closes.
  uint8_t packet[5];
  iovec part{packet, sizeof(packet)};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
  msghdr message{};
  ssize_t length;
  bool wasReset = false;
  for (;;) {
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (length >= 0) break;
    // The other end has gone without reading all of ours. The kernel says so once, before it gives what came from there.
    if (errno == ECONNRESET && !wasReset) wasReset = true;
    else if (errno == EAGAIN || errno == EWOULDBLOCK) return Status::Ok();
    else if (errno != EINTR) return Status::Errno("recvmsg of memory");
  }
  int descriptors[2];
  size_t come = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t here = std::min((header->cmsg_len - CMSG_LEN(0)) / sizeof(int), 2 - come);
    std::memcpy(descriptors + come, CMSG_DATA(header), here * sizeof(int));
    come += here;
  }
  // Closed; an empty message of nothing looks the same.
  if (length == 0 && come == 0) return Status::Ok();
  if (length == 4 && come == 1 && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) {
    *number = uint32_t{packet[0]} | uint32_t{packet[1]} << 8 | uint32_t{packet[2]} << 16 | uint32_t{packet[3]} << 24;
    *fd = descriptors[0];
    return Status::Ok();
  }
  for (size_t at = 0; at < come; at++) close(descriptors[at]);
  return {"a message of other than one number and one descriptor", EBADMSG};
}

}  // namespace skep
