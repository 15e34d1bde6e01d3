// The other direction of jpeg.c: RGB as YCbCr 4:2:0, or grey, with the tables of the standard scaled by quality.
#include "jpeg-dct.h"
#include "jpeg-pixels.h"
#include "jpeg-tables.h"
#include "jpeg.h"

typedef struct {
  uint16_t code[256];
  uint8_t length[256];
} Codes;

typedef struct {
  Bytes *to;
  uint64_t bits;  // The lowest `count` of them are not written yet.
  int count;
} BitWriter;

typedef struct {
  float *samples;
  int stride, h, last_dc;
  float factors[64];  // Transposed: what the table of quantization and the transform divide by.
  const Codes *dc, *ac;
} Plane;

// 64 codes of at most 16 + 11 bits, every byte of them 0xff, and what was left of the block before.
enum { BLOCK_BYTES_MAX = 64 * 27 / 8 * 2 + 16 };

static void load_codes(Codes *codes, const uint8_t *table) {
  int code = 0, index = 16;
  for (int length = 1; length <= 16; length++, code <<= 1) {
    for (int k = 0; k < table[length - 1]; k++, index++) {
      codes->code[table[index]] = (uint16_t)code++;
      codes->length[table[index]] = (uint8_t)length;
    }
  }
}

static inline void put_byte(Bytes *to, uint8_t byte) {
  to->bytes[to->length++] = byte;
  if (byte == 0xff) to->bytes[to->length++] = 0;
}

// At most 32 bits. There has to be room: encode_block makes it.
static inline void put_bits(BitWriter *writer, uint32_t value, int count) {
  writer->bits = writer->bits << count | value;
  writer->count += count;
  if (writer->count < 32) return;
  writer->count -= 32;
  uint32_t four = (uint32_t)(writer->bits >> writer->count), turned = __builtin_bswap32(four);
  if ((~four - 0x01010101u) & four & 0x80808080u) {
    for (int shift = 24; shift >= 0; shift -= 8) put_byte(writer->to, (uint8_t)(four >> shift));
    return;
  }
  memcpy(writer->to->bytes + writer->to->length, &turned, 4);
  writer->to->length += 4;
}

static int size_of(int value) { return value == 0 ? 0 : 32 - __builtin_clz((unsigned)abs(value)); }

// At which place of the zigzag a coefficient is, rows being columns.
static const uint8_t transposed_order[64] = {
    0, 2, 3, 9, 10, 20, 21, 35, 1, 4, 8, 11, 19, 22, 34, 36, 5, 7, 12, 18, 23, 33, 37, 48, 6, 13, 17, 24, 32, 38, 47, 49,
    14, 16, 25, 31, 39, 46, 50, 57, 15, 26, 30, 40, 45, 51, 56, 58, 27, 29, 41, 44, 52, 55, 59, 62, 28, 42, 43, 53, 54, 60, 61, 63};

// A code, and behind it the value that it announces; of negative ones, one less.
static inline void put_value(BitWriter *writer, const Codes *codes, int run, int value) {
  int size = size_of(value), symbol = run << 4 | size;
  uint32_t bits = (uint32_t)(value + (value >> 31)) & ((1u << size) - 1);
  put_bits(writer, (uint32_t)codes->code[symbol] << size | bits, codes->length[symbol] + size);
}

static void encode_block(BitWriter *writer, Plane *plane, const float *samples) {
  int16_t quantized[64];
  uint64_t in_order = 0;
  int last = 0;
  make_room(writer->to, BLOCK_BYTES_MAX);
  // Most frequencies are zero: only the others are put in order.
  uint64_t found = forward_dct(samples, plane->stride, plane->factors, quantized) & ~1ull;
  for (; found != 0; found &= found - 1) in_order |= 1ull << transposed_order[__builtin_ctzll(found)];
  put_value(writer, plane->dc, 0, quantized[0] - plane->last_dc);
  plane->last_dc = quantized[0];
  for (; in_order != 0; in_order &= in_order - 1) {
    int k = __builtin_ctzll(in_order), run = k - last - 1;
    for (; run > 15; run -= 16) put_bits(writer, plane->ac->code[0xf0], plane->ac->length[0xf0]);
    put_value(writer, plane->ac, run, quantized[transposed(zigzag[k])]);
    last = k;
  }
  if (last < 63) put_bits(writer, plane->ac->code[0], plane->ac->length[0]);
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

// A row of the picture, as long as the plane: at the edges, the last pixels are repeated, in `room`.
static const uint8_t *full_row(const Picture *picture, int y, int length, uint8_t *room) {
  const uint8_t *row = picture->rows[y < picture->height ? y : picture->height - 1];
  int channels = picture->channels, end = picture->width * channels;
  if (picture->width == length) return row;
  memcpy(room, row, (size_t)end);
  for (int at = end; at < length * channels; at++) room[at] = room[at - channels];
  return room;
}

static inline v128_t weigh(v128_t r, v128_t g, v128_t b, const float weights[4]) {
  v128_t red = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(r), wasm_f32x4_splat(weights[0])), green = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(g), wasm_f32x4_splat(weights[1]));
  v128_t blue = wasm_f32x4_mul(wasm_f32x4_convert_i32x4(b), wasm_f32x4_splat(weights[2]));
  return wasm_f32x4_add(wasm_f32x4_add(red, green), wasm_f32x4_add(blue, wasm_f32x4_splat(weights[3])));
}

static inline void store_luma(Pixels pixels, float *to) {
  static const float weights[4] = {0.299f, 0.587f, 0.114f, -128};
  wasm_v128_store(to, weigh(wasm_u32x4_extend_low_u16x8(pixels.r), wasm_u32x4_extend_low_u16x8(pixels.g), wasm_u32x4_extend_low_u16x8(pixels.b), weights));
  wasm_v128_store(to + 4, weigh(wasm_u32x4_extend_high_u16x8(pixels.r), wasm_u32x4_extend_high_u16x8(pixels.g), wasm_u32x4_extend_high_u16x8(pixels.b), weights));
}

// Of two rows of pixels, the sums of two each.
static inline v128_t sum_of_four(v128_t upper, v128_t lower) { return wasm_u32x4_extadd_pairwise_u16x8(wasm_i16x8_add(upper, lower)); }

// The samples of one band, which begins at row `top` of the picture. `room` is for two rows.
static void fill_planes(const Picture *picture, Plane *planes, int top, int lines, uint8_t *room) {
  static const float blue[4] = {0.25f * -0.168736f, 0.25f * -0.331264f, 0.25f * 0.5f, 0}, red[4] = {0.25f * 0.5f, 0.25f * -0.418688f, 0.25f * -0.081312f, 0};
  int stride = planes[0].stride;
  for (int y = 0; y < lines; y += 2) {
    float *luma = planes[0].samples + y * stride;
    const uint8_t *rows[2] = {full_row(picture, top + y, stride, room), full_row(picture, top + y + 1, stride, room + stride * picture->channels)};
    if (picture->channels == 1) {
      for (int x = 0; x < stride; x++) luma[x] = rows[0][x] - 128.0f;
      for (int x = 0; x < stride; x++) luma[stride + x] = rows[1][x] - 128.0f;
      continue;
    }
    for (int x = 0; x < stride; x += 8) {
      Pixels upper = load_pixels(rows[0] + x * 3), lower = load_pixels(rows[1] + x * 3);
      store_luma(upper, luma + x);
      store_luma(lower, luma + stride + x);
      v128_t r = sum_of_four(upper.r, lower.r), g = sum_of_four(upper.g, lower.g), b = sum_of_four(upper.b, lower.b);
      int at = y / 2 * planes[1].stride + x / 2;
      wasm_v128_store(planes[1].samples + at, weigh(r, g, b, blue));
      wasm_v128_store(planes[2].samples + at, weigh(r, g, b, red));
    }
  }
}

void encode_jpeg(const Picture *picture, int quality, Bytes *to) {
  int count = picture->channels, unit = count == 1 ? 8 : 16;
  int across = (picture->width + unit - 1) / unit, down = (picture->height + unit - 1) / unit;
  uint8_t quants[2][64];
  Codes *codes = take(4 * sizeof(Codes));
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
    for (int k = 0; k < 64; k++) planes[c].factors[transposed(zigzag[k])] = 0.125f / (quants[c > 0][k] * dct_scale[zigzag[k] / 8] * dct_scale[zigzag[k] % 8]);
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
  uint8_t *room = take((size_t)(planes[0].stride * count * 2));
  for (int band = 0; band < down; band++) {
    fill_planes(picture, planes, band * unit, unit, room);
    for (int at = 0; at < across; at++) {
      for (int c = 0; c < count; c++) {
        Plane *plane = &planes[c];
        for (int b = 0; b < plane->h * plane->h; b++) {
          encode_block(&writer, plane, plane->samples + b / plane->h * 8 * plane->stride + (at * plane->h + b % plane->h) * 8);
        }
      }
    }
  }
  make_room(to, BLOCK_BYTES_MAX);
  put_bits(&writer, 0x7f, 7);
  for (; writer.count >= 8; writer.count -= 8) put_byte(to, (uint8_t)(writer.bits >> (writer.count - 8)));
  append(to, "\xff\xd9", 2);
  for (int c = 0; c < count; c++) free(planes[c].samples);
  free(room);
  free(codes);
}
