// Memory that one process fills, seals, and passes to others, which map it: transfers within a host (src/transfer/README.md).
//
//   B1. What a buffer's owner in JavaScript may touch is mapped at every moment until its backing store is deleted.
//   B2. A mapping is shared and writable only between Allocate and Seal: so the kernel can seal the memory (it refuses while there is one).
//   B3. Nothing is mapped beyond the end of its file: a touch there would be a SIGBUS.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common.h"

namespace skep {

// An empty one. Close-on-exec, sealable.
Status CreateMemory(int* fd);
Status SealMemory(int fd);
// Null and the length, when nobody can change it any more; or why not.
const char* CheckMemory(int fd, uint64_t* bytes);
// Gives a memory that is empty this content.
Status FillMemory(int fd, const char* bytes, size_t count);

// What an ArrayBuffer lies in. Made and deleted by any thread.
class Mapping {
 public:
  // Memory of this process's own. It holds the descriptor until it is sealed.
  static Status Allocate(size_t bytes, Mapping** made);
  // Bytes of sealed memory, or of a file that is not changed, from a whole page on: copy-on-write.
  static Status MapPrivate(int fd, size_t bytes, uint64_t offset, Mapping** made);
  // Seals the allocated memory at these addresses: its descriptor, now the caller's; -1 when there is no such. Then it Shows, if that is wanted.
  static Status Seal(const char* base, size_t bytes, bool isShown, int* fd);
  static bool IsAllocated(const char* base, size_t bytes);
  // From here on it is known that the buffer shows all of this sealed memory.
  void Shows(int fd);
  // A descriptor of the sealed memory that the buffer at these addresses shows, while nothing has been written into the buffer; otherwise -1.
  static int Shown(const char* base, size_t bytes);
  // How many there are in the process: the kernel bounds them (vm.max_map_count).
  static size_t Count();
  ~Mapping();

  char* base() const { return base_; }
  size_t bytes() const { return bytes_; }

 private:
  Mapping(char* base, size_t bytes, int fd);
  char* base_;
  size_t bytes_;
  int fd_;          // -1: not allocated here, or sealed.
  int shown_ = -1;  // Of sealed memory; -1: none, or there are many of these already.
};

// Sockets of packets, each a number and a descriptor.
Status MakeSocketPair(int sockets[2]);
// `error` EAGAIN: the socket is full.
Status PassMemory(int socket, uint32_t number, int fd);
// Without waiting; -1 when there is none. EBADMSG: something else came, and is gone.
Status ReceiveMemory(int socket, uint32_t* number, int* fd);

}  // namespace skep
