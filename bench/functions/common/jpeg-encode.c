// The other direction of jpeg.c: RGB as YCbCr 4:2:0, or grey, with the tables of the standard scaled by quality.
#include <math.h>

#include "jpeg-tables.h"
#include "jpeg.h"

typedef struct {
  uint16_t code[256];
  uint8_t length[256];
} Codes;

typedef struct {
  Bytes *to;
  uint32_t bits;
  int count;
} BitWriter;

typedef struct {
  float *samples;
  int stride, h, last_dc;
  const uint8_t *quant;
  const Codes *dc, *ac;
} Plane;

static void load_codes(Codes *codes, const uint8_t *table) {
  int code = 0, index = 16;
  for (int length = 1; length <= 16; length++, code <<= 1) {
    for (int k = 0; k < table[length - 1]; k++, index++) {
      codes->code[table[index]] = (uint16_t)code++;
      codes->length[table[index]] = (uint8_t)length;
    }
  }
}

static void put_bits(BitWriter *writer, uint32_t value, int count) {
  writer->bits = writer->bits << count | (value & ((1u << count) - 1));
  writer->count += count;
  while (writer->count >= 8) {
    uint8_t byte = (uint8_t)(writer->bits >> (writer->count - 8));
    append(writer->to, &byte, 1);
    if (byte == 0xff) append(writer->to, "", 1);
    writer->count -= 8;
  }
}

static int size_of(int value) {
  int size = 0;
  for (value = abs(value); value > 0; value >>= 1) size++;
  return size;
}

static float cosine_table[64];

static void forward_dct(const float *in, int stride, float *out) {
  float half[64];
  for (int y = 0; y < 8; y++) {
    for (int u = 0; u < 8; u++) {
      float sum = 0;
      for (int x = 0; x < 8; x++) sum += in[y * stride + x] * cosine_table[u * 8 + x];
      half[y * 8 + u] = sum;
    }
  }
  for (int v = 0; v < 8; v++) {
    for (int u = 0; u < 8; u++) {
      float sum = 0;
      for (int y = 0; y < 8; y++) sum += half[y * 8 + u] * cosine_table[v * 8 + y];
      out[v * 8 + u] = sum;
    }
  }
}

static void encode_block(BitWriter *writer, Plane *plane, const float *samples) {
  float block[64];
  int quantized[64], run = 0;
  forward_dct(samples, plane->stride, block);
  for (int k = 0; k < 64; k++) quantized[k] = (int)floorf(block[zigzag[k]] / (float)plane->quant[k] + 0.5f);
  int step = quantized[0] - plane->last_dc, size = size_of(step);
  plane->last_dc = quantized[0];
  put_bits(writer, plane->dc->code[size], plane->dc->length[size]);
  if (size > 0) put_bits(writer, (uint32_t)(step < 0 ? step - 1 : step), size);
  for (int k = 1; k < 64; k++) {
    if (quantized[k] == 0) {
      run++;
      continue;
    }
    for (; run > 15; run -= 16) put_bits(writer, plane->ac->code[0xf0], plane->ac->length[0xf0]);
    size = size_of(quantized[k]);
    put_bits(writer, plane->ac->code[run << 4 | size], plane->ac->length[run << 4 | size]);
    put_bits(writer, (uint32_t)(quantized[k] < 0 ? quantized[k] - 1 : quantized[k]), size);
    run = 0;
  }
  if (run > 0) put_bits(writer, plane->ac->code[0], plane->ac->length[0]);
}

static void put_part(Bytes *to, int marker, const void *bytes, size_t length) {
  uint8_t head[4] = {0xff, (uint8_t)marker, (uint8_t)((length + 2) >> 8), (uint8_t)(length + 2)};
  append(to, head, 4);
  append(to, bytes, length);
}

static void put_table(Bytes *to, int marker, int id, const uint8_t *table, size_t length) {
  uint8_t part[200];
  part[0] = (uint8_t)id;
  memcpy(part + 1, table, length);
  put_part(to, marker, part, length + 1);
}

static void scale_table(uint8_t *to, const uint8_t *from, int quality) {
  int scale = quality < 50 ? 5000 / quality : 200 - quality * 2;
  for (int k = 0; k < 64; k++) {
    int value = (from[zigzag[k]] * scale + 50) / 100;
    to[k] = (uint8_t)(value < 1 ? 1 : value > 255 ? 255 : value);
  }
}

// The samples of one band, which begins at row `top` of the picture.
static void fill_planes(const Picture *picture, Plane *planes, int top, int lines) {
  for (int c = 1; c < picture->channels; c++) memset(planes[c].samples, 0, (size_t)(planes[c].stride * lines / 2) * sizeof(float));
  for (int y = 0; y < lines; y++) {
    const uint8_t *row = picture->rows[top + y < picture->height ? top + y : picture->height - 1];
    for (int x = 0; x < planes[0].stride; x++) {
      const uint8_t *pixel = row + (x < picture->width ? x : picture->width - 1) * picture->channels;
      if (picture->channels == 1) {
        planes[0].samples[y * planes[0].stride + x] = (float)pixel[0] - 128;
        continue;
      }
      float r = pixel[0], g = pixel[1], b = pixel[2];
      int at = y / 2 * planes[1].stride + x / 2;
      planes[0].samples[y * planes[0].stride + x] = 0.299f * r + 0.587f * g + 0.114f * b - 128;
      planes[1].samples[at] += 0.25f * (-0.168736f * r - 0.331264f * g + 0.5f * b);
      planes[2].samples[at] += 0.25f * (0.5f * r - 0.418688f * g - 0.081312f * b);
    }
  }
}

void encode_jpeg(const Picture *picture, int quality, Bytes *to) {
  int count = picture->channels, unit = count == 1 ? 8 : 16;
  int across = (picture->width + unit - 1) / unit, down = (picture->height + unit - 1) / unit;
  uint8_t quants[2][64];
  Codes *codes = take(4 * sizeof(Codes));
  for (int u = 0; u < 8; u++)
    for (int x = 0; x < 8; x++) cosine_table[u * 8 + x] = (float)(cos((2 * x + 1) * u * 3.14159265358979323846 / 16) * (u == 0 ? 0.35355339059327379 : 0.5));
  scale_table(quants[0], quant_luma, quality);
  scale_table(quants[1], quant_chroma, quality);
  load_codes(&codes[0], dc_luma);
  load_codes(&codes[1], ac_luma);
  load_codes(&codes[2], dc_chroma);
  load_codes(&codes[3], ac_chroma);

  Plane planes[3] = {{0}};
  uint8_t frame[15] = {8, (uint8_t)(picture->height >> 8), (uint8_t)picture->height, (uint8_t)(picture->width >> 8), (uint8_t)picture->width, (uint8_t)count};
  uint8_t scan[10] = {(uint8_t)count};
  for (int c = 0; c < count; c++) {
    int h = c == 0 && count == 3 ? 2 : 1;
    planes[c] = (Plane){NULL, across * h * 8, h, 0, quants[c > 0], &codes[c > 0 ? 2 : 0], &codes[c > 0 ? 3 : 1]};
    planes[c].samples = take((size_t)(planes[c].stride * h * 8) * sizeof(float));
    memcpy(frame + 6 + c * 3, (uint8_t[]){(uint8_t)(c + 1), (uint8_t)(h << 4 | h), c > 0}, 3);
    memcpy(scan + 1 + c * 2, (uint8_t[]){(uint8_t)(c + 1), c > 0 ? 0x11 : 0}, 2);
  }
  memcpy(scan + 1 + count * 2, (uint8_t[]){0, 63, 0}, 3);

  append(to, "\xff\xd8", 2);
  put_table(to, 0xdb, 0, quants[0], 64);
  if (count == 3) put_table(to, 0xdb, 1, quants[1], 64);
  put_part(to, 0xc0, frame, (size_t)(6 + count * 3));
  put_table(to, 0xc4, 0x00, dc_luma, sizeof dc_luma);
  put_table(to, 0xc4, 0x10, ac_luma, sizeof ac_luma);
  if (count == 3) put_table(to, 0xc4, 0x01, dc_chroma, sizeof dc_chroma);
  if (count == 3) put_table(to, 0xc4, 0x11, ac_chroma, sizeof ac_chroma);
  put_part(to, 0xda, scan, (size_t)(4 + count * 2));
  BitWriter writer = {to, 0, 0};
  for (int band = 0; band < down; band++) {
    fill_planes(picture, planes, band * unit, unit);
    for (int at = 0; at < across; at++) {
      for (int c = 0; c < count; c++) {
        Plane *plane = &planes[c];
        for (int b = 0; b < plane->h * plane->h; b++) {
          encode_block(&writer, plane, plane->samples + b / plane->h * 8 * plane->stride + (at * plane->h + b % plane->h) * 8);
        }
      }
    }
  }
  put_bits(&writer, 0x7f, 7);
  append(to, "\xff\xd9", 2);
  for (int c = 0; c < count; c++) free(planes[c].samples);
  free(codes);
}
