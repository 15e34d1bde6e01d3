// See crc32c.h.
#include "crc32c.h"

#include <array>
#include <cstring>

namespace skep {
namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
    tables[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; byte++) {
    for (size_t table = 1; table < 8; table++) {
      uint32_t before = tables[table - 1][byte];
      tables[table][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

uint64_t Load(const uint8_t* data) {
  uint64_t word;
  std::memcpy(&word, data, 8);
  return word;
}

// Eight bytes a step (Intel's slicing by 8).
uint32_t ByTable(uint32_t crc, const uint8_t* data, size_t bytes) {
  for (; bytes >= 8; bytes -= 8, data += 8) {
    uint64_t word = Load(data) ^ crc;
    crc = 0;
    for (size_t at = 0; at < 8; at++) crc ^= kTables[7 - at][(word >> (8 * at)) & 0xFF];
  }
  for (; bytes > 0; bytes--, data++) crc = (crc >> 8) ^ kTables[0][(crc ^ *data) & 0xFF];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) uint32_t ByInstruction(uint32_t crc, const uint8_t* data, size_t bytes) {
  uint64_t wide = crc;
  for (; bytes >= 8; bytes -= 8, data += 8) wide = __builtin_ia32_crc32di(wide, Load(data));
  crc = static_cast<uint32_t>(wide);
  for (; bytes > 0; bytes--, data++) crc = __builtin_ia32_crc32qi(crc, *data);
  return crc;
}

bool HasInstruction() {
  static const bool has = __builtin_cpu_supports("sse4.2") != 0;
  return has;
}
#endif

}  // namespace

uint32_t Crc32c(uint32_t crc, const uint8_t* data, size_t bytes) {
#if defined(__x86_64__)
  if (HasInstruction()) return ~ByInstruction(~crc, data, bytes);
#endif
  return ~ByTable(~crc, data, bytes);
}

uint32_t Crc32cByTable(uint32_t crc, const uint8_t* data, size_t bytes) { return ~ByTable(~crc, data, bytes); }

}  // namespace skep
