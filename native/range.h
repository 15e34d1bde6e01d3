// One address range whose content the addon may replace: the linear memory of one WebAssembly.Memory, or of another sandbox.
//
// Owned by: the thread of the isolate the memory belongs to. While a restore runs on another thread the range is busy, and
// whoever asks for something else is refused.
//
//   A1. Only addresses inside [base, base + bytes) are mapped, advised, read into or watched, and both are taken from the
//       memory itself right before (module.cc): a mistake in JavaScript cannot reach other memory.
//   A2. Every restore gives the whole range its content: what the range held before cannot be seen through it.
#pragma once

#include <memory>

#include "common.h"
#include "faults.h"
#include "image.h"

namespace skep {

struct Range {
  char* base = nullptr;
  size_t bytes = 0;
  // The first bytes are mapped from a file; the rest is anonymous.
  size_t fileBytes = 0;
  // What a reset gives back: the image that is mapped lazily, or null for zero pages.
  std::shared_ptr<Image> mapped;
  std::shared_ptr<Watched> watched;
  // Of the first bytes, those whose touches are noted (touched.h).
  size_t notedBytes = 0;
  // Other memory has been mapped into a part (objects.cc), so the pages alone no longer say what is mapped where.
  bool overlaid = false;
  bool busy = false;

  // Ends watching and noting, as far as it does.
  void Unwatch();
  // Maps the image, the rest is zero.
  Status BecomeFile(const std::shared_ptr<Image>& image);
  // All zero, anonymous.
  Status BecomeZero();
  // As after the last BecomeFile or BecomeZero, without a new mapping: the cheapest way back to a lazily restored image.
  Status Reset();
  // Something of others is going to be mapped into this memory: the next restore or reset maps all of it anew (A2).
  void Overlay(size_t memoryBytes);
};

}  // namespace skep
