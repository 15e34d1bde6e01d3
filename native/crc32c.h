// CRC-32C (Castagnoli, RFC 3720 appendix B.4): by the processor's instruction where it has one, otherwise by tables.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skep {

// Of `bytes` that follow those which gave `crc`; 0 for the first.
uint32_t Crc32c(uint32_t crc, const uint8_t* data, size_t bytes);
// The same by tables alone, for comparing the two.
uint32_t Crc32cByTable(uint32_t crc, const uint8_t* data, size_t bytes);

}  // namespace skep
