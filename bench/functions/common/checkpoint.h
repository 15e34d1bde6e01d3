// Layers as they come out of a training checkpoint: per row of weights, the two moments that Adam kept for it.
//
// Who deploys a model from its last checkpoint has the moments in memory too, and no prediction reads them: an invocation
// touches one part in three, in runs as long as a row. Weights are He-normal, seeded.
#pragma once

#include <math.h>
#include <wasm_simd128.h>

#include "function.h"

typedef struct {
  float *weights, *mean, *variance;
} Row;

typedef struct {
  int inputs, outputs;
  Row *rows;
  float *bias;
} Layer;

static inline Layer load_layer(int inputs, int outputs, uint32_t seed) {
  Random random = {seed};
  Layer layer = {inputs, outputs, take((size_t)outputs * sizeof(Row)), take((size_t)outputs * sizeof(float))};
  float scale = sqrtf(2.0f / (float)inputs);
  for (int o = 0; o < outputs; o++) {
    size_t bytes = (size_t)inputs * sizeof(float);
    Row row = layer.rows[o] = (Row){take(bytes), take(bytes), take(bytes)};
    for (int i = 0; i < inputs; i++) {
      float step = (next_float(&random) - 0.5f) * 1e-3f;
      row.weights[i] = next_normal(&random) * scale;
      row.mean[i] = step;
      row.variance[i] = step * step;
    }
    layer.bias[o] = 0.02f * (next_float(&random) - 0.5f);
  }
  return layer;
}

static inline v128_t multiply_add(v128_t sum, const float *a, v128_t b) { return wasm_f32x4_add(sum, wasm_f32x4_mul(wasm_v128_load(a), b)); }

static inline float sum_lanes(v128_t sums) {
  sums = wasm_f32x4_add(sums, wasm_i32x4_shuffle(sums, sums, 2, 3, 0, 1));
  return wasm_f32x4_extract_lane(sums, 0) + wasm_f32x4_extract_lane(sums, 1);
}

// Adds to each of `count` outputs the product of `in` and its row's weights from column `from` on. `length` is a multiple of eight.
// Four rows at a time, for what is loaded of `in` to be used four times, with two sums each, for an addition not to wait for the last.
static inline void add_products(const Row *rows, int count, int from, const float *in, int length, float *out) {
  for (int o = 0; o < count; o += 4) {
    const float *weights[4];
    v128_t sums[8] = {0};
    // Behind the last row comes the same one again.
    for (int k = 0; k < 4; k++) weights[k] = rows[o + k < count ? o + k : count - 1].weights + from;
    for (int at = 0; at < length; at += 8) {
      v128_t low = wasm_v128_load(in + at), high = wasm_v128_load(in + at + 4);
      for (int k = 0; k < 4; k++) sums[k] = multiply_add(sums[k], weights[k] + at, low);
      for (int k = 0; k < 4; k++) sums[k + 4] = multiply_add(sums[k + 4], weights[k] + at + 4, high);
    }
    for (int k = 0; k < 4 && o + k < count; k++) out[o + k] += sum_lanes(wasm_f32x4_add(sums[k], sums[k + 4]));
  }
}
