// The discrete cosine transform of 8 x 8 samples, both ways, in the form of Arai, Agui and Nakajima: five multiplications per line.
//
// Its results are scaled by `dct_scale` of row and column, which the tables of quantization take in. Four lines at a time, one per
// lane; frequencies are transposed in memory ([u * 8 + v], u across), so that one transposition serves both passes.
#pragma once

#include <stdint.h>
#include <string.h>
#include <wasm_simd128.h>

static const float dct_scale[8] = {1, 1.387039845f, 1.306562965f, 1.175875602f, 1, 0.785694958f, 0.5411961f, 0.275899379f};

#define plus wasm_f32x4_add
#define minus wasm_f32x4_sub
static inline v128_t times(v128_t a, float b) { return wasm_f32x4_mul(a, wasm_f32x4_splat(b)); }

static inline void inverse_lines(v128_t c[8]) {
  v128_t sum = plus(c[0], c[4]), difference = minus(c[0], c[4]), outer = plus(c[2], c[6]), inner = minus(times(minus(c[2], c[6]), 1.414213562f), outer);
  v128_t even[4] = {plus(sum, outer), plus(difference, inner), minus(difference, inner), minus(sum, outer)};
  v128_t z13 = plus(c[5], c[3]), z10 = minus(c[5], c[3]), z11 = plus(c[1], c[7]), z12 = minus(c[1], c[7]), z5 = times(plus(z10, z12), 1.847759065f), odd[4];
  odd[0] = plus(z11, z13);
  odd[1] = minus(minus(z5, times(z10, 2.61312593f)), odd[0]);
  odd[2] = minus(times(minus(z11, z13), 1.414213562f), odd[1]);
  odd[3] = minus(minus(z5, times(z12, 1.0823922f)), odd[2]);
  for (int x = 0; x < 4; x++) {
    c[x] = plus(even[x], odd[x]);
    c[7 - x] = minus(even[x], odd[x]);
  }
}

static inline void forward_lines(v128_t d[8]) {
  v128_t sums[4], differences[4];
  for (int x = 0; x < 4; x++) {
    sums[x] = plus(d[x], d[7 - x]);
    differences[x] = minus(d[x], d[7 - x]);
  }
  v128_t outer = plus(sums[0], sums[3]), across = minus(sums[0], sums[3]), inner = plus(sums[1], sums[2]), z1 = times(plus(minus(sums[1], sums[2]), across), 0.707106781f);
  d[0] = plus(outer, inner);
  d[4] = minus(outer, inner);
  d[2] = plus(across, z1);
  d[6] = minus(across, z1);
  v128_t low = plus(differences[3], differences[2]), middle = times(plus(differences[2], differences[1]), 0.707106781f), high = plus(differences[1], differences[0]);
  v128_t z5 = times(minus(low, high), 0.382683433f), z2 = plus(times(low, 0.5411961f), z5), z4 = plus(times(high, 1.306562965f), z5);
  v128_t z11 = plus(differences[0], middle), z13 = minus(differences[0], middle);
  d[5] = plus(z13, z2);
  d[3] = minus(z13, z2);
  d[1] = plus(z11, z4);
  d[7] = minus(z11, z4);
}
#undef plus
#undef minus

// Stores eight vectors, which are four columns of 8 x 8, as four rows from `to` on.
static inline void store_transposed(const v128_t from[8], float *to) {
  for (int half = 0; half < 2; half++) {
    const v128_t *c = from + half * 4;
    v128_t ab_low = wasm_i32x4_shuffle(c[0], c[1], 0, 4, 1, 5), ab_high = wasm_i32x4_shuffle(c[0], c[1], 2, 6, 3, 7);
    v128_t cd_low = wasm_i32x4_shuffle(c[2], c[3], 0, 4, 1, 5), cd_high = wasm_i32x4_shuffle(c[2], c[3], 2, 6, 3, 7);
    wasm_v128_store(to + half * 4, wasm_i64x2_shuffle(ab_low, cd_low, 0, 2));
    wasm_v128_store(to + half * 4 + 8, wasm_i64x2_shuffle(ab_low, cd_low, 1, 3));
    wasm_v128_store(to + half * 4 + 16, wasm_i64x2_shuffle(ab_high, cd_high, 0, 2));
    wasm_v128_store(to + half * 4 + 24, wasm_i64x2_shuffle(ab_high, cd_high, 1, 3));
  }
}

// Rounded, by a number so large that a float has no fraction there.
static inline v128_t to_integers(v128_t floats) {
  return wasm_i32x4_sub(wasm_f32x4_add(floats, wasm_f32x4_splat(12582912.0f)), wasm_i32x4_splat(0x4b400000));
}

// Scaled frequencies to bytes. When `down` is 4, all frequencies from the fourth on downwards are zero.
static inline void inverse_dct(const float *in, int down, uint8_t *out, int stride) {
  float half[64];
  v128_t lines[8];
  if (down == 4) memset(half + 32, 0, 32 * sizeof(float));
  for (int v = 0; v < (down == 4 ? 4 : 8); v += 4) {
    for (int u = 0; u < 8; u++) lines[u] = wasm_v128_load(in + u * 8 + v);
    inverse_lines(lines);
    store_transposed(lines, half + v * 8);
  }
  for (int x = 0; x < 8; x += 4) {
    for (int v = 0; v < 8; v++) lines[v] = wasm_v128_load(half + v * 8 + x);
    inverse_lines(lines);
    for (int y = 0; y < 8; y += 4) {
      v128_t upper = wasm_i16x8_narrow_i32x4(to_integers(lines[y]), to_integers(lines[y + 1]));
      v128_t bytes = wasm_u8x16_narrow_i16x8(upper, wasm_i16x8_narrow_i32x4(to_integers(lines[y + 2]), to_integers(lines[y + 3])));
      wasm_v128_store32_lane(out + y * stride + x, bytes, 0);
      wasm_v128_store32_lane(out + (y + 1) * stride + x, bytes, 1);
      wasm_v128_store32_lane(out + (y + 2) * stride + x, bytes, 2);
      wasm_v128_store32_lane(out + (y + 3) * stride + x, bytes, 3);
    }
  }
}

// Samples to frequencies, each times its factor and rounded. Bit k of the answer says that out[k] is not zero.
static inline uint64_t forward_dct(const float *in, int stride, const float *factors, int16_t *out) {
  float half[64];
  v128_t lines[8], quantized[2][8];
  for (int x = 0; x < 8; x += 4) {
    for (int y = 0; y < 8; y++) lines[y] = wasm_v128_load(in + y * stride + x);
    forward_lines(lines);
    store_transposed(lines, half + x * 8);
  }
  for (int v = 0; v < 8; v += 4) {
    for (int x = 0; x < 8; x++) lines[x] = wasm_v128_load(half + x * 8 + v);
    forward_lines(lines);
    for (int u = 0; u < 8; u++) quantized[v / 4][u] = to_integers(wasm_f32x4_mul(lines[u], wasm_v128_load(factors + u * 8 + v)));
  }
  uint64_t found = 0;
  for (int u = 0; u < 8; u++) {
    v128_t row = wasm_i16x8_narrow_i32x4(quantized[0][u], quantized[1][u]);
    wasm_v128_store(out + u * 8, row);
    found |= (uint64_t)wasm_i16x8_bitmask(wasm_i16x8_ne(row, wasm_i16x8_splat(0))) << u * 8;
  }
  return found;
}
