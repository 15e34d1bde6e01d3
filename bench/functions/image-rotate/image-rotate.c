// image_rotate of the thesis (Table 5.1): a photo comes in as JPEG, is corrected for its camera, turned, and coded again.
//
// Initialised: a colour profile per camera model (a cube of 33 x 33 x 33 colours), and a gallery of sample photos, whose
// previews are kept as linear light while their full rows are given back. The rows of a request's photo go into those gaps, so
// the pages of one invocation lie between pages that it does not need, as on any heap that has been in use.
//
//   request   rotate <90|180|270> camera <number>\n<JPEG>
//   answer    size, bytes and checksum of the new JPEG, and its mean colour
#include "../common/jpeg.h"
#include "../common/scene.h"

enum { CAMERAS = 64, SIDE = 33, GALLERY = 4 };

typedef struct {
  uint16_t *planes[SIDE];  // By red; then green, blue, and the three corrected channels.
} Profile;

typedef struct {
  float **preview;  // Half the size, linear light.
  Bytes file;
} Sample;

static Profile profiles[CAMERAS];
static Sample gallery[GALLERY];
static float linear_light[256];

static void load_profile(Profile *profile, uint32_t seed) {
  Random random = {seed};
  float matrix[9], curve[SIDE], gamma = 0.9f + 0.25f * next_float(&random);
  for (int k = 0; k < 9; k++) matrix[k] = (k % 4 == 0 ? 0.92f : 0.04f) + 0.04f * (next_float(&random) - 0.5f);
  for (int k = 0; k < SIDE; k++) curve[k] = powf((float)k / (SIDE - 1), gamma);
  for (int r = 0; r < SIDE; r++) {
    uint16_t *to = profile->planes[r] = take(SIDE * SIDE * 3 * sizeof(uint16_t));
    for (int g = 0; g < SIDE; g++) {
      for (int b = 0; b < SIDE; b++, to += 3) {
        for (int c = 0; c < 3; c++) {
          float value = matrix[c * 3] * curve[r] + matrix[c * 3 + 1] * curve[g] + matrix[c * 3 + 2] * curve[b];
          to[c] = (uint16_t)(value <= 0 ? 0 : value >= 1 ? 65535 : value * 65535);
        }
      }
    }
  }
}

static void correct(const Profile *profile, Picture *picture) {
  for (int y = 0; y < picture->height; y++) {
    uint8_t *pixel = picture->rows[y];
    for (int x = 0; x < picture->width; x++, pixel += 3) {
      const uint16_t *to = profile->planes[(pixel[0] * 33) >> 8] + (((pixel[1] * 33) >> 8) * SIDE + ((pixel[2] * 33) >> 8)) * 3;
      // Between the points of the cube, the rest of the colour is added as it is.
      for (int c = 0; c < 3; c++) {
        int value = (to[c] >> 8) + (((pixel[c] * 33) & 255) >> 5);
        pixel[c] = (uint8_t)(value > 255 ? 255 : value);
      }
    }
  }
}

// Quarter turns in bands of sixteen new rows, so that a row of the photo is read sixteen pixels at a time.
static Picture rotate(const Picture *from, int degrees) {
  int width = from->width, height = from->height;
  Picture to = degrees == 180 ? new_picture(width, height, 3) : new_picture(height, width, 3);
  if (degrees == 180) {
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x++) memcpy(to.rows[y] + x * 3, from->rows[height - 1 - y] + (width - 1 - x) * 3, 3);
    return to;
  }
  int step = degrees == 90 ? 3 : -3;
  for (int top = 0; top < to.height; top += 16) {
    int end = top + 16 < to.height ? top + 16 : to.height;
    for (int x = 0; x < to.width; x++) {
      const uint8_t *pixel = degrees == 90 ? from->rows[height - 1 - x] + top * 3 : from->rows[x] + (width - 1 - top) * 3;
      for (int y = top; y < end; y++, pixel += step) memcpy(to.rows[y] + x * 3, pixel, 3);
    }
  }
  return to;
}

// Draws a sample photo, and keeps its preview while the photo grows.
static Picture load_sample(Sample *sample, int width, int height, uint32_t seed) {
  Scene scene = new_scene(seed);
  begin_drawing(&scene, width);
  Picture picture = {width, height, 3, take((size_t)height * sizeof(uint8_t *))};
  sample->preview = take((size_t)height / 2 * sizeof(float *));
  for (int y = 0; y < height; y++) {
    picture.rows[y] = take((size_t)width * 3);
    draw_row(&scene, (float)y / (float)height, picture.rows[y]);
    if (y % 2 == 0) continue;
    const uint8_t *above = picture.rows[y - 1], *below = picture.rows[y];
    float *row = sample->preview[y / 2] = take((size_t)width / 2 * 3 * sizeof(float));
    for (int x = 0; x < width / 2 * 3; x++) {
      int at = x / 3 * 6 + x % 3;
      row[x] = 0.25f * (linear_light[above[at]] + linear_light[above[at + 3]] + linear_light[below[at]] + linear_light[below[at + 3]]);
    }
  }
  end_drawing(&scene);
  return picture;
}

// What both the warm-up and an invocation do. 0 when it is no JPEG.
static int turn(const uint8_t *bytes, size_t length, int degrees, const Profile *profile, Picture *turned, Bytes *file) {
  Picture picture;
  size_t used = 0;
  if (!decode_jpeg(bytes, length, &picture, &used) || picture.channels != 3) return 0;
  correct(profile, &picture);
  *turned = rotate(&picture, degrees);
  free_picture(&picture);
  encode_jpeg(turned, 85, file);
  return 1;
}

EXPORT("skep_init") void skep_init(void) {
  jpeg_start();
  for (int k = 0; k < 256; k++) linear_light[k] = powf((float)k / 255, 2.2f);
  for (int k = 0; k < CAMERAS; k++) load_profile(&profiles[k], 77 + (uint32_t)k * 7919);
  Picture samples[GALLERY];
  for (int k = 0; k < GALLERY; k++) samples[k] = load_sample(&gallery[k], k % 2 ? 1200 : 1600, k % 2 ? 1600 : 1200, 5 + (uint32_t)k * 104729);
  for (int k = 0; k < GALLERY; k++) {
    encode_jpeg(&samples[k], 85, &gallery[k].file);
    free_picture(&samples[k]);
  }
  Picture turned;
  Bytes file = {0};
  turn(gallery[0].file.bytes, gallery[0].file.length, 90, &profiles[0], &turned, &file);
  free_picture(&turned);
  free(file.bytes);
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  char *line_end = memchr(request.bytes, '\n', request.length), *rest;
  if (line_end == NULL || strncmp((char *)request.bytes, "rotate ", 7) != 0) {
    answer("error: the request begins with \"rotate DEGREES camera NUMBER\"\n");
    return;
  }
  int degrees = (int)strtol((char *)request.bytes + 7, &rest, 10);
  int camera = strncmp(rest, " camera ", 8) == 0 ? (int)strtol(rest + 8, NULL, 10) : -1;
  if ((degrees != 90 && degrees != 180 && degrees != 270) || camera < 0 || camera >= CAMERAS) {
    answer("error: degrees are 90, 180 or 270, and cameras 0 to %d\n", CAMERAS - 1);
    return;
  }
  const uint8_t *jpeg = (uint8_t *)line_end + 1;
  Picture turned;
  Bytes file = {0};
  if (!turn(jpeg, (size_t)(request.bytes + request.length - jpeg), degrees, &profiles[camera], &turned, &file)) {
    answer("error: this is no baseline JPEG in colour\n");
    return;
  }
  uint64_t sum[3] = {0};
  for (int y = 0; y < turned.height; y++) {
    const uint8_t *pixel = turned.rows[y];
    uint32_t red = 0, green = 0, blue = 0;
    for (int x = 0; x < turned.width; x++, pixel += 3) red += pixel[0], green += pixel[1], blue += pixel[2];
    sum[0] += red, sum[1] += green, sum[2] += blue;
  }
  uint64_t pixels = (uint64_t)turned.width * (uint64_t)turned.height;
  answer("rotated %d x %d, %u bytes, checksum %08x, mean colour %u %u %u\n", turned.width, turned.height, (unsigned)file.length,
         (unsigned)checksum(file.bytes, file.length, CHECKSUM_START), (unsigned)(sum[0] / pixels), (unsigned)(sum[1] / pixels), (unsigned)(sum[2] / pixels));
  free_picture(&turned);
  free(file.bytes);
  free(request.bytes);
}
