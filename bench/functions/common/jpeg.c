// Baseline JPEG (ITU-T T.81): sequential Huffman coding, 8 bits, one component or three with 1x1 or 2x2 sampling.
//
// The transform is in jpeg-dct.h. Colours and samples are worked on eight at a time.
#include "jpeg.h"

#include "jpeg-dct.h"
#include "jpeg-pixels.h"
#include "jpeg-tables.h"

enum { PIXELS_MAX = 1 << 24 };

static uint8_t place_of[64];  // Of a coefficient in a block, by its place in the file.

void jpeg_start(void) {
  for (int k = 0; k < 64; k++) place_of[k] = (uint8_t)transposed(zigzag[k]);
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

// ---------------------------------------------------------------- decoding

typedef struct {
  int codes_below[18];  // First code that is too long for this length.
  int offset[17];
  uint8_t symbols[256];
  uint16_t quick[512];  // Nine bits ahead: length << 8 | symbol; 0: longer.
} Huffman;

typedef struct {
  const uint8_t *at, *end;
  uint64_t bits;  // The next one is the highest.
  int count;
} BitReader;

typedef struct {
  int h, v, quant, dc, ac, last_dc, stride;
  float scale[64];  // In the order of the file: what the table of quantization and the transform multiply by.
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

static int has_ff(uint32_t four) { return ((~four - 0x01010101u) & four & 0x80808080u) != 0; }

// At least 32 bits: as many as a code and what it announces have at most.
static inline void fill(BitReader *reader) {
  uint32_t four;
  if (reader->count >= 32) return;
  if (reader->end - reader->at >= 4) {
    memcpy(&four, reader->at, 4);
    if (!has_ff(four)) {
      reader->bits |= (uint64_t)__builtin_bswap32(four) << (32 - reader->count);
      reader->count += 32;
      reader->at += 4;
      return;
    }
  }
  while (reader->count <= 56) {
    uint64_t byte = 0;
    // Behind a marker there are only zeros.
    if (reader->at < reader->end && !(reader->at[0] == 0xff && reader->at + 1 < reader->end && reader->at[1] != 0)) {
      byte = *reader->at++;
      if (byte == 0xff) reader->at++;
    }
    reader->bits |= byte << (56 - reader->count);
    reader->count += 8;
  }
}

static inline int take_bits(BitReader *reader, int count) {
  if (count == 0) return 0;
  int value = (int)(reader->bits >> (64 - count));
  reader->bits <<= count;
  reader->count -= count;
  return value;
}

// Fills, for what follows the symbol too.
static inline int decode_symbol(BitReader *reader, const Huffman *huffman) {
  fill(reader);
  uint16_t quick = huffman->quick[reader->bits >> 55];
  int length = quick >> 8, symbol = quick & 255;
  if (quick == 0) {
    for (length = 10; length <= 16; length++) {
      int code = (int)(reader->bits >> (64 - length));
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

static void decode_block(BitReader *reader, Component *component, const Huffman *dc, const Huffman *ac, uint8_t *out) {
  const float *scale = component->scale;
  float block[64] = {0};
  int size = decode_symbol(reader, dc), down = 0;
  component->last_dc += extend(take_bits(reader, size & 15), size & 15);
  block[0] = (float)component->last_dc * scale[0] + 128;
  for (int k = 1; k < 64; k++) {
    int symbol = decode_symbol(reader, ac), run = symbol >> 4;
    size = symbol & 15;
    if (size == 0 && run != 15) break;
    k += run;
    if (size == 0 || k > 63) continue;
    int at = place_of[k];
    block[at] = (float)extend(take_bits(reader, size), size) * scale[k];
    down |= at % 8 < 4 ? 4 : 8;
  }
  if (down > 0) {
    inverse_dct(block, down, out, component->stride);
    return;
  }
  uint8_t grey = block[0] <= 0 ? 0 : block[0] >= 255 ? 255 : (uint8_t)(block[0] + 0.5f);
  for (int y = 0; y < 8; y++) memset(out + y * component->stride, grey, 8);
}

// Eight samples, 16 bits each; each the same twice if it is shared by two pixels.
static inline v128_t load_samples(const uint8_t *samples, int x, int shift) {
  v128_t bytes = wasm_v128_load64_zero(samples + (x >> shift));
  if (shift) bytes = wasm_i8x16_shuffle(bytes, bytes, 0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0);
  return wasm_u16x8_extend_low_u8x16(bytes);
}

// Seven bits of fraction leave room for all that saturates. Factors are below one: what is above is added whole.
static inline v128_t part_of(v128_t fractions, double factor) { return wasm_i16x8_q15mulr_sat(fractions, wasm_i16x8_splat((int16_t)(factor * 32768 + 0.5))); }

static inline Pixels colours_of(v128_t luma, v128_t cb, v128_t cr) {
  v128_t rounded = wasm_i16x8_add(wasm_i16x8_shl(luma, 7), wasm_i16x8_splat(64));
  cb = wasm_i16x8_shl(wasm_i16x8_sub(cb, wasm_i16x8_splat(128)), 7);
  cr = wasm_i16x8_shl(wasm_i16x8_sub(cr, wasm_i16x8_splat(128)), 7);
  v128_t red = wasm_i16x8_add(cr, part_of(cr, 0.402)), green = wasm_i16x8_add(part_of(cb, 0.344136), part_of(cr, 0.714136)), blue = wasm_i16x8_add(cb, part_of(cb, 0.772));
  return (Pixels){
      wasm_i16x8_shr(wasm_i16x8_add_sat(rounded, red), 7),
      wasm_i16x8_shr(wasm_i16x8_sub_sat(rounded, green), 7),
      wasm_i16x8_shr(wasm_i16x8_add_sat(rounded, blue), 7),
  };
}

// Makes the picture's rows from `top` on of one band of samples.
static void compose(const Component *components, Picture *picture, int top, int h_max, int v_max) {
  for (int y = top; y < picture->height && y < top + 8 * v_max; y++) {
    uint8_t *row = picture->rows[y] = take((size_t)picture->width * (size_t)picture->channels);
    const uint8_t *luma = components[0].samples + (y - top) * components[0].v / v_max * components[0].stride;
    if (picture->channels == 1) {
      memcpy(row, luma, (size_t)picture->width);
      continue;
    }
    const uint8_t *blue = components[1].samples + (y - top) * components[1].v / v_max * components[1].stride;
    const uint8_t *red = components[2].samples + (y - top) * components[2].v / v_max * components[2].stride;
    int blue_shift = components[1].h < h_max, red_shift = components[2].h < h_max, luma_shift = components[0].h < h_max;
    for (int x = 0; x < picture->width; x += 8) {
      uint8_t edge[24];
      Pixels pixels = colours_of(load_samples(luma, x, luma_shift), load_samples(blue, x, blue_shift), load_samples(red, x, red_shift));
      if (x + 8 <= picture->width) {
        store_pixels(row + x * 3, pixels);
      } else {
        store_pixels(edge, pixels);
        memcpy(row + x * 3, edge, (size_t)(picture->width - x) * 3);
      }
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
        // Behind it, what load_samples reads too much.
        components[c].samples = take((size_t)(components[c].stride * components[c].v * 8 + 8));
        for (int k = 0; k < 64; k++) components[c].scale[k] = 0.125f * quant[components[c].quant][k] * dct_scale[zigzag[k] / 8] * dct_scale[zigzag[k] % 8];
      }
      *picture = (Picture){width, height, count, take((size_t)height * sizeof(uint8_t *))};
      BitReader reader = {part_end, end, 0, 0};
      for (int band = 0; band < down; band++) {
        for (int unit = 0; unit < across; unit++) {
          for (int c = 0; c < count; c++) {
            Component *one = &components[c];
            for (int b = 0; b < one->h * one->v; b++) {
              uint8_t *out = one->samples + b / one->h * 8 * one->stride + (unit * one->h + b % one->h) * 8;
              decode_block(&reader, one, &huffman[one->dc], &huffman[4 + one->ac], out);
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
