// Which pages of a mapped image are touched, told by the page table: the cheapest way to record.
//
// The kernel maps what is in the page cache beside a page that faults (fault-around), so that a page table says more than what was
// touched. Memory that is registered with userfaultfd for write-protection is left out of that. Nothing is ever protected, and no
// fault comes here: the registration alone makes each entry of the page table one touch. The asynchronous kind of it (Linux 6.7) may be
// had on a private mapping of a file, and by every process.
//
//   N1. A range is registered only while it is recorded: whatever it is next has the kernel's fault-around again.
#pragma once

#include <cstddef>

#include "common.h"

namespace skep {

// Null, or why this machine cannot.
const char* NotingMissing();
// Of [base, base + bytes), a private mapping that has no page yet: from now on, only touched pages get into its page table.
Status NoteRange(char* base, size_t bytes);
void UnnoteRange(char* base, size_t bytes);

}  // namespace skep
