// See range.h.
#include "range.h"

#include <sys/mman.h>

#include <algorithm>
#include <utility>

#include "memory.h"
#include "touched.h"

namespace skep {

void Range::Unwatch() {
  if (notedBytes > 0) UnnoteRange(base, std::exchange(notedBytes, 0));
  if (watched == nullptr) return;
  UnwatchRange(watched, bytes);
  watched = nullptr;
}

Status Range::BecomeFile(const std::shared_ptr<Image>& image) {
  Unwatch();
  Status status = MapFile(base, image->bytes, image->fd, image->offset);
  if (!status.ok()) return status;
  const size_t before = std::exchange(fileBytes, image->bytes);
  mapped = image;
  overlaid = false;
  char* const zero = base + image->bytes;
  if (before > image->bytes) {
    status = MapZero(zero, before - image->bytes);
    if (!status.ok()) return status;
  }
  // Anonymous memory that is given back reads as zero again; no mapping changes.
  char* const rest = base + std::max(before, image->bytes);
  if (rest < base + bytes && madvise(rest, static_cast<size_t>(base + bytes - rest), MADV_DONTNEED) != 0) return Status::Errno("madvise");
  return Status::Ok();
}

Status Range::BecomeZero() {
  Unwatch();
  fileBytes = 0;
  mapped = nullptr;
  overlaid = false;
  return MapZero(base, bytes);
}

Status Range::Reset() {
  if (overlaid) return mapped != nullptr ? BecomeFile(mapped) : BecomeZero();
  Unwatch();
  // A private mapping of a file shows the file's content again.
  return madvise(base, bytes, MADV_DONTNEED) == 0 ? Status::Ok() : Status::Errno("madvise");
}

void Range::Overlay(size_t memoryBytes) {
  overlaid = true;
  fileBytes = memoryBytes;
}

}  // namespace skep
