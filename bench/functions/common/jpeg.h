// Baseline JPEG, both ways: what the two picture functions read and write.
//
// Pictures are rows of RGB or grey bytes, each row an allocation of its own, as picture libraries keep them.
#pragma once

#include "function.h"

typedef struct {
  int width, height, channels;  // 3: RGB. 1: grey.
  uint8_t **rows;
} Picture;

void jpeg_start(void);  // Tables; once, before anything else.
Picture new_picture(int width, int height, int channels);
void free_picture(Picture *picture);
// Decodes the picture at `bytes`; `used` gets its length, up to and with the end marker. 0 when it is none.
int decode_jpeg(const uint8_t *bytes, size_t length, Picture *picture, size_t *used);
// Colour is sampled 4:2:0. Quality is 1 to 100.
void encode_jpeg(const Picture *picture, int quality, Bytes *to);
