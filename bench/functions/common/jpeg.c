// Baseline JPEG (ITU-T T.81): sequential Huffman coding, 8 bits, one component or three with 1x1 or 2x2 sampling.
//
// The transform is a separable float DCT with a table of cosines, of which symmetry saves half: slow beside the AAN forms, and
// plain to read. What has two positions that mirror each other has the same even part, and the odd part with the other sign.
#include "jpeg.h"

#include <math.h>

#include "jpeg-tables.h"

enum { PIXELS_MAX = 1 << 24 };

static float cosines[64];  // [frequency][position], scaled.

void jpeg_start(void) {
  for (int u = 0; u < 8; u++)
    for (int x = 0; x < 8; x++) cosines[u * 8 + x] = (float)(cos((2 * x + 1) * u * 3.14159265358979323846 / 16) * (u == 0 ? 0.35355339059327379 : 0.5));
}

Picture new_picture(int width, int height, int channels) {
  Picture picture = {width, height, channels, take((size_t)height * sizeof(uint8_t *))};
  for (int y = 0; y < height; y++) picture.rows[y] = take((size_t)width * (size_t)channels);
  return picture;
}

void free_picture(Picture *picture) {
  for (int y = 0; y < picture->height; y++) free(picture->rows[y]);
  free(picture->rows);
  picture->rows = NULL;
}

static uint8_t clamp_int(int value) { return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value); }
static uint8_t clamp(float value) { return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)(value + 0.5f); }

// ---------------------------------------------------------------- decoding

typedef struct {
  int codes_below[18];  // First code that is too long for this length.
  int offset[17];
  uint8_t symbols[256];
  uint16_t quick[512];  // Nine bits ahead: length << 8 | symbol; 0: longer.
} Huffman;

typedef struct {
  const uint8_t *at, *end;
  uint32_t bits;
  int count;
} BitReader;

typedef struct {
  int id, h, v, quant, dc, ac, last_dc, stride;
  uint8_t *samples;  // Of one band: a row of units.
} Component;

static void load_huffman(Huffman *huffman, const uint8_t *counts, const uint8_t *symbols) {
  int code = 0, index = 0;
  memset(huffman, 0, sizeof *huffman);
  for (int length = 1; length <= 16; length++) {
    huffman->offset[length] = index - code;
    for (int k = 0; k < counts[length - 1]; k++, code++, index++) {
      huffman->symbols[index & 255] = symbols[index];
      if (length > 9) continue;
      for (int rest = 0; rest < 1 << (9 - length); rest++) huffman->quick[(code << (9 - length) | rest) & 511] = (uint16_t)(length << 8 | symbols[index]);
    }
    huffman->codes_below[length] = code;
    code <<= 1;
  }
}

static void fill(BitReader *reader) {
  while (reader->count <= 24) {
    uint32_t byte = 0;
    // Behind a marker there are only zeros.
    if (reader->at < reader->end && !(reader->at[0] == 0xff && reader->at + 1 < reader->end && reader->at[1] != 0)) {
      byte = *reader->at++;
      if (byte == 0xff) reader->at++;
    }
    reader->bits |= byte << (24 - reader->count);
    reader->count += 8;
  }
}

static int take_bits(BitReader *reader, int count) {
  if (count == 0) return 0;
  fill(reader);
  int value = (int)(reader->bits >> (32 - count));
  reader->bits <<= count;
  reader->count -= count;
  return value;
}

static int decode_symbol(BitReader *reader, const Huffman *huffman) {
  fill(reader);
  uint16_t quick = huffman->quick[reader->bits >> 23];
  int length = quick >> 8, symbol = quick & 255;
  if (quick == 0) {
    for (length = 10; length <= 16; length++) {
      int code = (int)(reader->bits >> (32 - length));
      if (code >= huffman->codes_below[length]) continue;
      symbol = huffman->symbols[(code + huffman->offset[length]) & 255];
      break;
    }
    if (length > 16) length = 16;
  }
  reader->bits <<= length;
  reader->count -= length;
  return symbol;
}

static int extend(int value, int size) { return size > 0 && value < 1 << (size - 1) ? value - (1 << size) + 1 : value; }

// One line of eight, `step` apart, each way. Both take the mirrored positions x and 7 - x together.
static inline void inverse_line(const float *in, float *out, int step) {
  for (int x = 0; x < 4; x++) {
    float even = 0, odd = 0;
    for (int u = 0; u < 8; u += 2) {
      even += in[u * step] * cosines[u * 8 + x];
      odd += in[(u + 1) * step] * cosines[(u + 1) * 8 + x];
    }
    out[x * step] = even + odd;
    out[(7 - x) * step] = even - odd;
  }
}

// Only the first `lines` lines of frequencies are not zero.
static void inverse_dct(const float *in, int lines, uint8_t *out, int stride) {
  float half[64] = {0}, samples[64];
  for (int v = 0; v < lines; v++) inverse_line(in + v * 8, half + v * 8, 1);
  for (int x = 0; x < 8; x++) inverse_line(half + x, samples + x, 8);
  for (int y = 0; y < 8; y++)
    for (int x = 0; x < 8; x++) out[y * stride + x] = clamp(samples[y * 8 + x] + 128);
}

static void decode_block(BitReader *reader, Component *component, const Huffman *dc, const Huffman *ac, const uint16_t *quant, uint8_t *out) {
  float block[64] = {0};
  int size = decode_symbol(reader, dc), lines = 0;
  component->last_dc += extend(take_bits(reader, size & 15), size & 15);
  block[0] = (float)(component->last_dc * quant[0]);
  for (int k = 1; k < 64; k++) {
    int symbol = decode_symbol(reader, ac), run = symbol >> 4;
    size = symbol & 15;
    if (size == 0 && run != 15) break;
    k += run;
    if (size == 0 || k > 63) continue;
    block[zigzag[k]] = (float)(extend(take_bits(reader, size), size) * quant[k]);
    if (zigzag[k] / 8 >= lines) lines = zigzag[k] / 8 + 1;
  }
  if (lines > 0) {
    inverse_dct(block, lines, out, component->stride);
    return;
  }
  uint8_t flat = clamp(block[0] * 0.125f + 128);
  for (int y = 0; y < 8; y++) memset(out + y * component->stride, flat, 8);
}

// Makes the picture's rows from `top` on of one band of samples.
static void compose(const Component *components, Picture *picture, int top, int h_max, int v_max) {
  for (int y = top; y < picture->height && y < top + 8 * v_max; y++) {
    uint8_t *row = picture->rows[y] = take((size_t)picture->width * (size_t)picture->channels);
    const uint8_t *luma = components[0].samples + (y - top) * components[0].stride;
    if (picture->channels == 1) {
      memcpy(row, luma, (size_t)picture->width);
      continue;
    }
    const uint8_t *blue = components[1].samples + (y - top) * components[1].v / v_max * components[1].stride;
    const uint8_t *red = components[2].samples + (y - top) * components[2].v / v_max * components[2].stride;
    int blue_shift = components[1].h < h_max, red_shift = components[2].h < h_max;
    for (int x = 0; x < picture->width; x++, row += 3) {
      // Fractions of 65,536, and a half to round.
      int cb = blue[x >> blue_shift] - 128, cr = red[x >> red_shift] - 128, y_rounded = (luma[x] << 16) + 32768;
      row[0] = clamp_int((y_rounded + 91881 * cr) >> 16);
      row[1] = clamp_int((y_rounded - 22554 * cb - 46802 * cr) >> 16);
      row[2] = clamp_int((y_rounded + 116130 * cb) >> 16);
    }
  }
}

int decode_jpeg(const uint8_t *bytes, size_t length, Picture *picture, size_t *used) {
  uint16_t quant[4][64] = {{0}};
  Huffman *huffman = take(8 * sizeof(Huffman));
  Component components[3] = {{0}};
  const uint8_t *at = bytes, *end = bytes + length;
  int count = 0, width = 0, height = 0, h_max = 1, v_max = 1, done = 0;
  memset(huffman, 0, 8 * sizeof(Huffman));
  if (length < 4 || at[0] != 0xff || at[1] != 0xd8) goto over;
  for (at += 2; at + 4 <= end && at[0] == 0xff && !done;) {
    int marker = at[1], size = at[2] << 8 | at[3];
    const uint8_t *part = at + 4, *part_end = at + 2 + size;
    if (size < 2 || part_end > end) break;
    if (marker == 0xdb) {
      for (; part + 65 <= part_end; part += 65)
        for (int k = 0; k < 64; k++) quant[part[0] & 3][k] = part[1 + k];
    } else if (marker == 0xc4) {
      while (part + 17 <= part_end) {
        int total = 0;
        for (int k = 1; k <= 16; k++) total += part[k];
        if (total > 256 || part + 17 + total > part_end) goto over;
        load_huffman(&huffman[(part[0] >> 4 & 1) * 4 + (part[0] & 3)], part + 1, part + 17);
        part += 17 + total;
      }
    } else if (marker == 0xc0 && size >= 11 && count == 0) {
      height = part[1] << 8 | part[2];
      width = part[3] << 8 | part[4];
      count = part[5];
      if ((count != 1 && count != 3) || size < 8 + count * 3 || width == 0 || height == 0 || width * height > PIXELS_MAX) goto over;
      for (int c = 0; c < count; c++) {
        components[c].id = part[6 + c * 3];
        components[c].h = count == 1 ? 1 : part[7 + c * 3] >> 4;
        components[c].v = count == 1 ? 1 : part[7 + c * 3] & 15;
        components[c].quant = part[8 + c * 3] & 3;
        if (components[c].h < 1 || components[c].h > 2 || components[c].v < 1 || components[c].v > 2) goto over;
        if (components[c].h > h_max) h_max = components[c].h;
        if (components[c].v > v_max) v_max = components[c].v;
      }
    } else if (marker == 0xda && count > 0 && size >= 6 + count * 2) {
      for (int c = 0; c < count; c++) {
        components[c].dc = part[2 + c * 2] >> 4 & 3;
        components[c].ac = part[2 + c * 2] & 3;
      }
      int across = (width + 8 * h_max - 1) / (8 * h_max), down = (height + 8 * v_max - 1) / (8 * v_max);
      for (int c = 0; c < count; c++) {
        components[c].stride = across * components[c].h * 8;
        components[c].samples = take((size_t)(components[c].stride * components[c].v * 8));
      }
      *picture = (Picture){width, height, count, take((size_t)height * sizeof(uint8_t *))};
      BitReader reader = {part_end, end, 0, 0};
      for (int band = 0; band < down; band++) {
        for (int unit = 0; unit < across; unit++) {
          for (int c = 0; c < count; c++) {
            Component *one = &components[c];
            for (int b = 0; b < one->h * one->v; b++) {
              uint8_t *out = one->samples + b / one->h * 8 * one->stride + (unit * one->h + b % one->h) * 8;
              decode_block(&reader, one, &huffman[one->dc], &huffman[4 + one->ac], quant[one->quant], out);
            }
          }
        }
        compose(components, picture, band * 8 * v_max, h_max, v_max);
      }
      // The end marker is the next one; the reader stops before it.
      at = reader.at;
      while (at + 1 < end && !(at[0] == 0xff && at[1] == 0xd9)) at++;
      *used = (size_t)(at + 2 - bytes);
      done = 1;
      break;
    }
    at = part_end;
  }
over:
  for (int c = 0; c < 3; c++) free(components[c].samples);
  free(huffman);
  return done;
}
