// What the C functions of this folder share: reading the request, writing the answer, seeded random numbers, a checksum.
//
// They are reactors (docs/wasm-abi.md): `skep_init` runs once, before the snapshot, and `handle` once per invocation. Only
// `fd_read` and `fd_write` of WASI are used, so that they run under any host. Numbers are seeded and floats are IEEE's, so
// every answer is the same on every machine. None of this is a library: what fails, traps.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPORT(name) __attribute__((export_name(name)))

static inline void *take(size_t bytes) {
  void *memory = malloc(bytes);
  if (memory == NULL) __builtin_trap();
  return memory;
}

// xorshift32: one word of state, never zero.
typedef struct {
  uint32_t state;
} Random;

static inline uint32_t next_random(Random *random) {
  uint32_t x = random->state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return random->state = x;
}

// In [0, 1), with 24 bits.
static inline float next_float(Random *random) { return (float)(next_random(random) >> 8) * (1.0f / 16777216.0f); }

// About normal, mean 0 and deviation 1: the sum of four uniform ones (Irwin-Hall), scaled.
static inline float next_normal(Random *random) {
  float sum = next_float(random) + next_float(random) + next_float(random) + next_float(random);
  return (sum - 2.0f) * 1.7320508f;
}

// FNV-1a.
static inline uint32_t checksum(const uint8_t *bytes, size_t length, uint32_t hash) {
  for (size_t at = 0; at < length; at++) hash = (hash ^ bytes[at]) * 16777619u;
  return hash;
}
#define CHECKSUM_START 2166136261u

typedef struct {
  uint8_t *bytes;
  size_t length, room;
} Bytes;

// For `length` more bytes.
static inline void make_room(Bytes *to, size_t length) {
  if (to->length + length <= to->room) return;
  to->room = (to->length + length) * 3 / 2 + 4096;
  to->bytes = realloc(to->bytes, to->room);
  if (to->bytes == NULL) __builtin_trap();
}

static inline void append(Bytes *to, const void *bytes, size_t length) {
  make_room(to, length);
  memcpy(to->bytes + to->length, bytes, length);
  to->length += length;
}

// The whole of standard input, with a zero behind it.
static inline Bytes read_request(void) {
  Bytes request = {0};
  char chunk[4096];
  for (;;) {
    ssize_t count = read(0, chunk, sizeof chunk);
    if (count <= 0) break;
    append(&request, chunk, (size_t)count);
  }
  append(&request, "", 1);
  request.length--;
  return request;
}

static inline void write_all(const void *bytes, size_t length) {
  const char *from = bytes;
  while (length > 0) {
    ssize_t count = write(1, from, length);
    if (count <= 0) return;
    from += count;
    length -= (size_t)count;
  }
}

// Lines of text, at most 400 bytes each. Without floats: what has a fraction is given in thousandths.
__attribute__((format(printf, 1, 2))) static inline void answer(const char *format, ...) {
  char line[400];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  write_all(line, length < (int)sizeof line ? (size_t)length : sizeof line - 1);
}
