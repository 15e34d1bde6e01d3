// See touched.h.
#include "touched.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

#include "memory.h"

// Headers are older than kernels.
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFDIO_REGISTER_MODE_WP
#define UFFDIO_REGISTER_MODE_WP (uint64_t{1} << 1)
#endif

namespace skep {
namespace {

// Not the one of faults.cc: its handshake asks for other features, and it has a thread that reads.
int uffd = -1;

// Two pages, of which one is touched.
bool TellsOne() {
  void* at = mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  char* base = static_cast<char*>(at);
  std::vector<uint32_t> pages;
  bool tells = NoteRange(base, 2 * kPage).ok();
  base[kPage] = 1;
  tells = tells && PresentPages(base, 2 * kPage, &pages).ok() && pages.size() == 1 && pages[0] == 1;
  munmap(at, 2 * kPage);
  return tells;
}

const char* Open() {
  // No fault is ever handled, those of system calls included, so that this is enough.
  uffd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
  if (uffd < 0) return errno == ENOSYS ? "the kernel has no userfaultfd (CONFIG_USERFAULTFD)" : "userfaultfd is refused to this process, by a seccomp filter or by Linux before 5.11";
  uffdio_api api{};
  api.api = UFFD_API;
  api.features = UFFD_FEATURE_WP_ASYNC;
  const char* problem = nullptr;
  if (ioctl(uffd, UFFDIO_API, &api) != 0) problem = "userfaultfd cannot write-protect asynchronously, which needs Linux 6.7";
  else if (!TellsOne()) problem = "the page map does not tell which pages were touched";
  if (problem == nullptr) return nullptr;
  close(uffd);
  uffd = -1;
  return problem;
}

}  // namespace

const char* NotingMissing() {
  static const char* const missing = Open();
  return missing;
}

Status NoteRange(char* base, size_t bytes) {
  uffdio_register request{};
  request.range = {reinterpret_cast<uintptr_t>(base), bytes};
  request.mode = UFFDIO_REGISTER_MODE_WP;
  if (ioctl(uffd, UFFDIO_REGISTER, &request) != 0) return Status::Errno("UFFDIO_REGISTER for write-protection");
  // Nor as a huge page, where the page cache has one. A kernel without huge pages says EINVAL, and needs no telling.
  madvise(base, bytes, MADV_NOHUGEPAGE);
  return Status::Ok();
}

void UnnoteRange(char* base, size_t bytes) {
  uffdio_range range{reinterpret_cast<uintptr_t>(base), bytes};
  // Fails where the memory has been mapped anew in between: the registration went with the old mapping.
  ioctl(uffd, UFFDIO_UNREGISTER, &range);
}

}  // namespace skep
