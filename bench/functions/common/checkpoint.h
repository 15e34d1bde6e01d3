// Layers as they come out of a training checkpoint: per row of weights, the two moments that Adam kept for it.
//
// Who deploys a model from its last checkpoint has the moments in memory too, and no prediction reads them: an invocation
// touches one part in three, in runs as long as a row. Weights are He-normal, seeded.
#pragma once

#include <math.h>

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

// Four sums, so that an addition need not wait for the one before.
static inline float dot(const float *a, const float *b, int length) {
  float sums[4] = {0};
  int at = 0;
  for (; at + 4 <= length; at += 4)
    for (int k = 0; k < 4; k++) sums[k] += a[at + k] * b[at + k];
  for (; at < length; at++) sums[0] += a[at] * b[at];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}
