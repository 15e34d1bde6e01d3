// A landscape to draw samples with: sky, sun, three ranges of hills with trees, and the grain of a sensor.
#pragma once

#include <math.h>

#include "jpeg.h"

typedef struct {
  float hills[3][4];  // Height, frequency, phase, and how light.
  float sun_x, sun_y;
  Random grain;
  int width;
  float *columns;  // Per column: where each range begins, and how its trees stand.
} Scene;

static inline Scene new_scene(uint32_t seed) {
  Scene scene = {.grain = {seed}};
  for (int k = 0; k < 3; k++) {
    scene.hills[k][0] = 0.45f + 0.15f * (float)k + 0.05f * next_float(&scene.grain);
    scene.hills[k][1] = 3 + 6 * next_float(&scene.grain);
    scene.hills[k][2] = 6 * next_float(&scene.grain);
    scene.hills[k][3] = 0.9f - 0.25f * (float)k;
  }
  scene.sun_x = next_float(&scene.grain);
  scene.sun_y = 0.1f + 0.2f * next_float(&scene.grain);
  return scene;
}

// Once, when the scene is as it shall be; `end_drawing` gives the memory back.
static inline void begin_drawing(Scene *scene, int width) {
  scene->width = width;
  scene->columns = take((size_t)width * 4 * sizeof(float));
  for (int x = 0; x < width; x++) {
    float u = (float)x / (float)width;
    for (int k = 0; k < 3; k++) {
      const float *hill = scene->hills[k];
      scene->columns[x * 4 + k] = hill[0] + 0.06f * sinf(u * hill[1] + hill[2]) + 0.01f * sinf(u * hill[1] * 9 + hill[2]);
    }
    scene->columns[x * 4 + 3] = 0.25f * sinf(u * 140);
  }
}

static inline void end_drawing(Scene *scene) { free(scene->columns); }

// One row at height v, 0 at the top and 1 at the bottom, of RGB.
static inline void draw_row(Scene *scene, float v, uint8_t *row) {
  float trees = sinf(v * 170);
  for (int x = 0; x < scene->width; x++) {
    const float *column = scene->columns + x * 4;
    float du = (float)x / (float)scene->width - scene->sun_x, dv = v - scene->sun_y;
    float r = 90 + 120 * v, g = 140 + 80 * v, b = 235 - 40 * v;
    if (du * du + dv * dv < 0.003f) r = 255, g = 240, b = 180;
    for (int k = 0; k < 3; k++) {
      if (v < column[k]) continue;
      float light = scene->hills[k][3], leaf = 0.75f + column[3] * trees;
      r = 70 * light * leaf, g = 130 * light * leaf, b = 60 * light;
    }
    float grain = 6 * (next_float(&scene->grain) - 0.5f);
    row[x * 3] = (uint8_t)fminf(255, fmaxf(0, r + grain));
    row[x * 3 + 1] = (uint8_t)fminf(255, fmaxf(0, g + grain));
    row[x * 3 + 2] = (uint8_t)fminf(255, fmaxf(0, b + grain));
  }
}
