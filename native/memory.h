// Mapping and reading: the system calls that every restore mode is made of.
//
// Nothing here knows which addresses it may touch: the callers (range.cc, restore.cc) hand in only what lies in a known range.
#pragma once

#include <sys/uio.h>

#include <vector>

#include "common.h"

namespace skep {

// Gives [base, base + bytes) the content of the file from `offset`, copy-on-write. Whatever was mapped there is gone.
Status MapFile(char* base, size_t bytes, int fd, uint64_t offset);
// Fresh zero pages, without huge ones: a single touched page must not cost 2 MB, nor hide which pages are touched.
Status MapZero(char* base, size_t bytes);
// Reads all of it, whatever the lengths of the single reads are.
Status ReadAll(int fd, char* into, size_t bytes, uint64_t offset);
// Reads the pages of `runs`, which are contiguous in the file, to where each run lies in the memory at `base`.
Status ReadScattered(int fd, char* base, const Run* runs, size_t count, uint64_t offset);
// Allocates the pages now, so that touching them later is no fault. Best effort: it changes no content.
void Populate(char* base, const std::vector<Run>& runs);
// Which pages of [base, base + bytes) are present in the page table or swapped out: `pages` gets their numbers, ascending.
Status PresentPages(const char* base, size_t bytes, std::vector<uint32_t>* pages);
// How many bytes of that part of the file the page cache holds; -1 where the kernel cannot say.
int64_t CachedBytes(int fd, uint64_t offset, uint64_t bytes);

// Page-aligned memory for large reads. Buffers are kept for the next one, as first touches of 100 MB cost more than reading it.
class Buffer {
 public:
  static Buffer Take(size_t bytes);
  Buffer(Buffer&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  Buffer(const Buffer&) = delete;
  ~Buffer();
  char* data() const { return data_; }  // Null when there is no memory.
  static void Trim();                   // Gives the kept ones back.

 private:
  Buffer(char* data, size_t bytes) : data_(data), bytes_(bytes) {}
  char* data_;
  size_t bytes_;
};

}  // namespace skep
