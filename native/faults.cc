// See faults.h.
#include "faults.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <map>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

namespace skep {
namespace {

int uffd = -1;

bool Handshake(int fd) {
  uffdio_api api{};
  api.api = UFFD_API;
  return ioctl(fd, UFFDIO_API, &api) == 0;
}

FaultSupport OpenFaults() {
  // All faults, where this process may; otherwise those of the program itself, which every process may handle since Linux 5.11.
  int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  if (fd < 0 && errno == ENOSYS) return {false, false, "the kernel has no userfaultfd (CONFIG_USERFAULTFD)"};
  bool userModeOnly = false;
  if (fd < 0) {
    int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device >= 0) {
      fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
      close(device);
    }
  }
  if (fd < 0) {
    fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
    userModeOnly = true;
  }
  if (fd < 0) return {false, false, errno == EPERM ? "userfaultfd is refused to this process, by a seccomp filter or by Linux before 5.11" : "userfaultfd failed"};
  if (!Handshake(fd)) {
    close(fd);
    return {false, false, "userfaultfd speaks another version"};
  }
  uffd = fd;
  return {true, userModeOnly, nullptr};
}

// By the address after the piece's last byte. Never destroyed: the handler thread may outlive the destructors of statics.
struct Piece {
  char* begin;
  std::shared_ptr<Watched> watched;
};
std::mutex& tableMutex = *new std::mutex;
std::map<char*, Piece>& table = *new std::map<char*, Piece>;

alignas(kPage) const char zeroPage[kPage] = {};

std::shared_ptr<Watched> Find(char* address) {
  std::lock_guard lock(tableMutex);
  auto found = table.upper_bound(address);
  return found != table.end() && found->second.begin <= address ? found->second.watched : nullptr;
}

void Serve(char* address) {
  // Nobody is watched there any more: unwatching has woken the thread, which finds ordinary memory.
  std::shared_ptr<Watched> watched = Find(address);
  if (watched == nullptr) return;
  Image& image = *watched->image;
  const size_t page = static_cast<size_t>(address - watched->base) / kPage;
  char* to = watched->base + page * kPage;
  std::lock_guard lock(watched->mutex);
  if (watched->ended) return;
  const int64_t startNs = NowNs();
  Status status;
  uint32_t raced = 0;
  if (!image.IsStored(page)) {
    // A copy rather than UFFDIO_ZEROPAGE: the page is most likely about to be written, and would then fault again.
    status = Install(to, zeroPage, kPage, false, &raced);
    if (raced == 0) watched->zeroPages++;
  } else {
    alignas(kPage) static char buffer[kPage];  // There is one handler thread.
    const char* from = watched->fetch == Fetch::kMap ? image.Mapped() : nullptr;
    if (from != nullptr) {
      from += page * kPage;
    } else {
      status = ReadAll(image.fd, buffer, kPage, image.offset + page * kPage);
      from = buffer;
    }
    // A mapped file that ended early or cannot be read makes this fail with EFAULT, not die: the kernel copies.
    if (status.ok()) status = Install(to, from, kPage, false, &raced);
    if (!status.ok()) {
      watched->lost = true;
      watched->watch->PageLost();
      Install(to, zeroPage, kPage, false, &raced);
    }
    watched->bytesRead += kPage;
  }
  // The prefetcher was first, and may have been quiet about it.
  if (raced > 0) Wake(to, kPage);
  else watched->order.push_back(static_cast<uint32_t>(page));
  watched->servedNs += NowNs() - startNs;
}

void HandleFaults() {
  BlockSignals();
  uffd_msg messages[16];
  for (;;) {
    ssize_t got = read(uffd, messages, sizeof messages);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return;
    for (size_t index = 0; index < static_cast<size_t>(got) / sizeof(uffd_msg); index++) {
      if (messages[index].event == UFFD_EVENT_PAGEFAULT) Serve(reinterpret_cast<char*>(messages[index].arg.pagefault.address));
    }
  }
}

// One per process, from the first range on. It ends with the process.
void StartHandler() {
  static const bool started = [] {
    std::thread(HandleFaults).detach();
    return true;
  }();
  (void)started;
}

void Unregister(char* begin, size_t bytes) {
  uffdio_range range{reinterpret_cast<uintptr_t>(begin), bytes};
  // Fails where the memory has been mapped anew in between: the registration went with the old mapping.
  ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

}  // namespace

const FaultSupport& FaultsSupported() {
  static const FaultSupport& support = *new FaultSupport(OpenFaults());
  return support;
}

Status WatchRange(const std::shared_ptr<Watched>& watched, const std::vector<Run>& pieces) {
  if (!FaultsSupported().available) {
    errno = ENOSYS;
    return Status::Errno("userfaultfd");
  }
  StartHandler();
  for (size_t index = 0; index < pieces.size(); index++) {
    char* begin = watched->base + size_t{pieces[index].first} * kPage;
    size_t bytes = size_t{pieces[index].count} * kPage;
    {
      std::lock_guard lock(tableMutex);
      // What lies there still belongs to memory that has been given back in the meantime.
      for (auto old = table.upper_bound(begin); old != table.end() && old->second.begin < begin + bytes;) old = table.erase(old);
      table[begin + bytes] = {begin, watched};
    }
    uffdio_register request{};
    request.range = {reinterpret_cast<uintptr_t>(begin), bytes};
    request.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (ioctl(uffd, UFFDIO_REGISTER, &request) != 0) {
      Status status = Status::Errno("UFFDIO_REGISTER");
      UnwatchRange(watched, (size_t{pieces[index].first} + pieces[index].count) * kPage);
      return status;
    }
  }
  return Status::Ok();
}

void UnwatchRange(const std::shared_ptr<Watched>& watched, size_t bytes) {
  watched->stopPrefetch = true;
  if (watched->prefetcher.joinable()) watched->prefetcher.join();
  {
    // Waits for an answer under way; later ones find that it has ended (F1).
    std::lock_guard lock(watched->mutex);
    watched->ended = true;
  }
  std::vector<std::pair<char*, size_t>> pieces;
  {
    std::lock_guard lock(tableMutex);
    for (auto at = table.upper_bound(watched->base); at != table.end() && at->second.begin < watched->base + bytes;) {
      if (at->second.watched != watched) {
        ++at;
        continue;
      }
      pieces.emplace_back(at->second.begin, static_cast<size_t>(at->first - at->second.begin));
      at = table.erase(at);
    }
  }
  for (auto [begin, length] : pieces) Unregister(begin, length);
}

Status Install(char* to, const char* from, size_t bytes, bool quiet, uint32_t* raced) {
  size_t done = 0;
  while (done < bytes) {
    uffdio_copy copy{};
    copy.dst = reinterpret_cast<uintptr_t>(to + done);
    copy.src = reinterpret_cast<uintptr_t>(from + done);
    copy.len = bytes - done;
    copy.mode = quiet ? UFFDIO_COPY_MODE_DONTWAKE : 0;
    if (ioctl(uffd, UFFDIO_COPY, &copy) == 0) return Status::Ok();
    // What was copied before it failed counts; the reason comes again with the next page.
    if (copy.copy > 0) {
      done += static_cast<size_t>(copy.copy);
    } else if (errno == EEXIST) {
      done += kPage;
      ++*raced;
    } else if (errno != EAGAIN) {
      return Status::Errno("UFFDIO_COPY");
    }
  }
  return Status::Ok();
}

void Wake(char* base, size_t bytes) {
  uffdio_range range{reinterpret_cast<uintptr_t>(base), bytes};
  ioctl(uffd, UFFDIO_WAKE, &range);
}

}  // namespace skep
