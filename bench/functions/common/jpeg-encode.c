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
  float quant_inverse[64];
  const Codes *dc, *ac;
} Plane;

// 64 codes of at most 16 + 11 bits, every byte of them 0xff, and what was left of the block before.
enum { BLOCK_BYTES_MAX = 64 * 27 / 8 * 2 + 8 };

static void load_codes(Codes *codes, const uint8_t *table) {
  int code = 0, index = 16;
  for (int length = 1; length <= 16; length++, code <<= 1) {
    for (int k = 0; k < table[length - 1]; k++, index++) {
      codes->code[table[index]] = (uint16_t)code++;
      codes->length[table[index]] = (uint8_t)length;
    }
  }
}

// There has to be room: encode_block makes it.
static inline void put_bits(BitWriter *writer, uint32_t value, int count) {
  Bytes *to = writer->to;
  writer->bits = writer->bits << count | (value & ((1u << count) - 1));
  writer->count += count;
  for (; writer->count >= 8; writer->count -= 8) {
    uint8_t byte = (uint8_t)(writer->bits >> (writer->count - 8));
    to->bytes[to->length++] = byte;
    if (byte == 0xff) to->bytes[to->length++] = 0;
  }
}

static int size_of(int value) { return value == 0 ? 0 : 32 - __builtin_clz((unsigned)abs(value)); }

static float cosine_table[64];

// One line of eight; see inverse_line in jpeg.c.
static inline void forward_line(const float *in, int in_step, float *out, int out_step) {
  float sums[4], differences[4];
  for (int x = 0; x < 4; x++) {
    sums[x] = in[x * in_step] + in[(7 - x) * in_step];
    differences[x] = in[x * in_step] - in[(7 - x) * in_step];
  }
  for (int u = 0; u < 8; u++) {
    const float *from = u % 2 == 0 ? sums : differences;
    float sum = 0;
    for (int x = 0; x < 4; x++) sum += from[x] * cosine_table[u * 8 + x];
    out[u * out_step] = sum;
  }
}

static void forward_dct(const float *in, int stride, float *out) {
  float half[64];
  for (int y = 0; y < 8; y++) forward_line(in + y * stride, 1, half + y * 8, 1);
  for (int u = 0; u < 8; u++) forward_line(half + u, 8, out + u, 8);
}

static void encode_block(BitWriter *writer, Plane *plane, const float *samples) {
  float block[64];
  int quantized[64], run = 0;
  make_room(writer->to, BLOCK_BYTES_MAX);
  forward_dct(samples, plane->stride, block);
  for (int k = 0; k < 64; k++) quantized[k] = (int)floorf(block[zigzag[k]] * plane->quant_inverse[k] + 0.5f);
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

// The samples of one band, which begins at row `top` of the picture. At its edges, the last pixels are repeated.
static void fill_planes(const Picture *picture, Plane *planes, int top, int lines) {
  int last = picture->width - 1;
  for (int y = 0; y < lines; y++) {
    const uint8_t *row = picture->rows[top + y < picture->height ? top + y : picture->height - 1];
    float *luma = planes[0].samples + y * planes[0].stride;
    for (int x = 0; x < planes[0].stride; x++) {
      const uint8_t *pixel = row + (x < last ? x : last) * picture->channels;
      luma[x] = (picture->channels == 1 ? pixel[0] : 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2]) - 128;
    }
    if (picture->channels == 1 || y % 2 == 0) continue;
    const uint8_t *above = picture->rows[top + y - 1 < picture->height ? top + y - 1 : picture->height - 1];
    for (int x = 0; x < planes[1].stride; x++) {
      int left = (x * 2 < last ? x * 2 : last) * 3, right = (x * 2 + 1 < last ? x * 2 + 1 : last) * 3, at = y / 2 * planes[1].stride + x;
      float r = above[left] + above[right] + row[left] + row[right];
      float g = above[left + 1] + above[right + 1] + row[left + 1] + row[right + 1];
      float b = above[left + 2] + above[right + 2] + row[left + 2] + row[right + 2];
      planes[1].samples[at] = 0.25f * (-0.168736f * r - 0.331264f * g + 0.5f * b);
      planes[2].samples[at] = 0.25f * (0.5f * r - 0.418688f * g - 0.081312f * b);
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
    planes[c] = (Plane){.stride = across * h * 8, .h = h, .dc = &codes[c > 0 ? 2 : 0], .ac = &codes[c > 0 ? 3 : 1]};
    for (int k = 0; k < 64; k++) planes[c].quant_inverse[k] = 1 / (float)quants[c > 0][k];
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
  make_room(to, 2);
  put_bits(&writer, 0x7f, 7);
  append(to, "\xff\xd9", 2);
  for (int c = 0; c < count; c++) free(planes[c].samples);
  free(codes);
}
