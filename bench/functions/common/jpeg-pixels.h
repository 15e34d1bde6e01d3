// Eight pixels at a time: their channels from RGB in a row, and back.
#pragma once

#include <stdint.h>
#include <wasm_simd128.h>

typedef struct {
  v128_t r, g, b;  // 16 bits each.
} Pixels;

static inline Pixels load_pixels(const uint8_t *at) {
  v128_t low = wasm_v128_load(at), high = wasm_v128_load(at + 8);
  return (Pixels){
      wasm_u16x8_extend_low_u8x16(wasm_i8x16_shuffle(low, high, 0, 3, 6, 9, 12, 15, 26, 29, 0, 0, 0, 0, 0, 0, 0, 0)),
      wasm_u16x8_extend_low_u8x16(wasm_i8x16_shuffle(low, high, 1, 4, 7, 10, 13, 24, 27, 30, 0, 0, 0, 0, 0, 0, 0, 0)),
      wasm_u16x8_extend_low_u8x16(wasm_i8x16_shuffle(low, high, 2, 5, 8, 11, 14, 25, 28, 31, 0, 0, 0, 0, 0, 0, 0, 0)),
  };
}

// What is below 0 or above 255 becomes that.
static inline void store_pixels(uint8_t *at, Pixels pixels) {
  v128_t rg = wasm_u8x16_narrow_i16x8(pixels.r, pixels.g), b = wasm_u8x16_narrow_i16x8(pixels.b, pixels.b);
  wasm_v128_store(at, wasm_i8x16_shuffle(rg, b, 0, 8, 16, 1, 9, 17, 2, 10, 18, 3, 11, 19, 4, 12, 20, 5));
  wasm_v128_store64_lane(at + 16, wasm_i8x16_shuffle(rg, b, 13, 21, 6, 14, 22, 7, 15, 23, 0, 0, 0, 0, 0, 0, 0, 0), 0);
}
