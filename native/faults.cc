// See faults.h.
#include "faults.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
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

FaultSupport OpenFaults() {
  // Faults of the program itself, which every process may handle since Linux 5.11; before, root may.
  int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
  if (fd < 0 && errno == EINVAL) fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  if (fd < 0 && errno == ENOSYS) return {false, "the kernel has no userfaultfd (CONFIG_USERFAULTFD)"};
  if (fd < 0) return {false, errno == EPERM ? "userfaultfd is refused to this process, by a seccomp filter or by Linux before 5.11" : "userfaultfd failed"};
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_SIGBUS;
  if (ioctl(fd, UFFDIO_API, &api) != 0) {
    close(fd);
    return {false, "userfaultfd gives no signals (UFFD_FEATURE_SIGBUS, Linux 4.14)"};
  }
  uffd = fd;
  return {true, nullptr};
}

// By the address after the piece's last byte. Never destroyed: a thread may fault while statics are.
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

// A read by itself takes as long as many pages of the prefetcher's stream.
void AwaitPrefetched(Watched& watched, uint32_t place) {
  for (uint32_t there = watched.placesPrefetched; watched.prefetching && there <= place; there = watched.placesPrefetched) watched.placesPrefetched.wait(there);
}

// False where nothing is watched.
bool Serve(char* address) {
  std::shared_ptr<Watched> watched = Find(address);
  if (watched == nullptr) return false;
  Image& image = *watched->image;
  const size_t page = static_cast<size_t>(address - watched->base) / kPage;
  char* to = watched->base + page * kPage;
  if (const uint32_t place = image.PlaceOf(page); place != Image::kNowhere && watched->prefetching) {
    AwaitPrefetched(*watched, place);
    return true;  // It is there. If the prefetcher has failed, the next attempt finds that it is not at work.
  }
  std::lock_guard lock(watched->mutex);
  if (watched->ended) return true;
  const int64_t startNs = NowNs();
  Status status;
  uint32_t raced = 0;
  if (!image.IsStored(page)) {
    // A copy rather than UFFDIO_ZEROPAGE: the page is most likely about to be written, and would then fault again.
    status = Install(to, zeroPage, kPage, &raced);
    if (raced == 0) watched->zeroPages++;
  } else {
    alignas(kPage) char buffer[kPage];
    const char* from = watched->fetch == Fetch::kMap ? image.Mapped() : nullptr;
    if (from != nullptr) {
      from += page * kPage;
    } else {
      status = ReadAll(image.fd, buffer, kPage, image.offset + page * kPage);
      from = buffer;
    }
    // A mapped file that ended early or cannot be read makes this fail with EFAULT, not die: the kernel copies.
    if (status.ok()) status = Install(to, from, kPage, &raced);
    if (!status.ok()) {
      watched->lost = true;
      watched->watch->PageLost();
      Install(to, zeroPage, kPage, &raced);
    }
    watched->bytesRead += kPage;
  }
  // Otherwise the prefetcher was first.
  if (raced == 0) watched->order.push_back(static_cast<uint32_t>(page));
  watched->servedNs += NowNs() - startNs;
  return true;
}

struct sigaction before;

// SAFETY: it runs in the place of one load or store of the program, to memory that is watched. The locks and the allocator that it uses are
// never held by code that touches such memory (F3), so that it cannot wait for the code that it interrupts.
void HandleFault(int signal, siginfo_t* info, void* context) {
  // Where nothing is watched any more, the next attempt finds ordinary memory. A second time there, it is somebody else's fault.
  thread_local void* unknown = nullptr;
  const int error = errno;
  if (Serve(static_cast<char*>(info->si_addr))) {
    unknown = nullptr;
  } else if (unknown != info->si_addr) {
    unknown = info->si_addr;
  } else if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, info, context);
  } else {
    // As without this file: the next attempt ends the process.
    sigaction(SIGBUS, &before, nullptr);
  }
  errno = error;
}

constexpr size_t kSignalStackBytes = 64 * 1024;

// What a thread handles its signals on, from its first range until it ends. One that somebody else has given it stays, and is used.
class SignalStack {
 public:
  SignalStack() {
    stack_t current{};
    if (sigaltstack(nullptr, &current) == 0 && (current.ss_flags & SS_DISABLE) == 0) return;
    void* at = mmap(nullptr, kSignalStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (at == MAP_FAILED) return;
    stack_t own{};
    own.ss_sp = at;
    own.ss_size = kSignalStackBytes;
    if (sigaltstack(&own, nullptr) == 0) {
      at_ = at;
    } else {
      munmap(at, kSignalStackBytes);
    }
  }

  // A fault after this is handled on the thread's stack. What is in use now (exit() in a handler), or what another has put its own in the place
  // of and may put back, is kept.
  ~SignalStack() {
    stack_t current{};
    if (at_ == nullptr || sigaltstack(nullptr, &current) != 0 || current.ss_sp != at_ || (current.ss_flags & SS_ONSTACK) != 0) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    if (sigaltstack(&none, nullptr) == 0) munmap(at_, kSignalStackBytes);
  }

  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  void* at_ = nullptr;
};

// From the first range on, until the process ends; and in each thread that has ranges, with a stack of its own: code that waits runs on
// stacks of V8 that are too small for anything else.
void StartHandling() {
  static const bool installed = [] {
    struct sigaction action {};
    action.sa_sigaction = HandleFault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &before) == 0;
  }();
  thread_local const SignalStack stack;
  (void)installed;
  (void)stack;
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
  StartHandling();
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

Status Install(char* to, const char* from, size_t bytes, uint32_t* raced) {
  size_t done = 0;
  while (done < bytes) {
    uffdio_copy copy{};
    copy.dst = reinterpret_cast<uintptr_t>(to + done);
    copy.src = reinterpret_cast<uintptr_t>(from + done);
    copy.len = bytes - done;
    copy.mode = UFFDIO_COPY_MODE_DONTWAKE;
    if (ioctl(uffd, UFFDIO_COPY, &copy) == 0) return Status::Ok();
    // What was copied before it failed counts; the reason comes again with the next page.
    if (copy.copy > 0) {
      done += static_cast<size_t>(copy.copy);
    } else if (errno == EEXIST || errno == ENOENT) {
      // There is one already, or another mapping has taken the place (objects.cc).
      done += kPage;
      ++*raced;
    } else if (errno != EAGAIN) {
      return Status::Errno("UFFDIO_COPY");
    }
  }
  return Status::Ok();
}

}  // namespace skep
