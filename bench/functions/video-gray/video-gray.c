// video_processing of the thesis (Table 5.1): a clip comes in, becomes grey in the manner of a film, and is coded again.
//
// A clip is motion JPEG: one JPEG after the other. Initialised: how 96 films see colours (a cube of 48 x 48 x 48 greys each),
// and a sample clip, of which the half-size luma and its two gradients are kept as references while its frames are given back to
// the heap. All frames of a request are decoded first, because a frame is smoothed with its two neighbours.
//
// As in the thesis (5.3.3), the two inputs have different aspect ratios, so that rows have different lengths and lie elsewhere.
//
//   request   gray film <number>\n<JPEG><JPEG>...
//   answer    frames, size, bytes and checksum of the new clip, and the mean grey of its first, middle and last frame
#include "../common/jpeg.h"
#include "../common/scene.h"

enum { FILMS = 96, SIDE = 48, FRAMES_MAX = 64, SAMPLE_FRAMES = 30, SAMPLE_WIDTH = 640, SAMPLE_HEIGHT = 360, BAND = 4 };

typedef struct {
  uint8_t *planes[SIDE];  // By red; then green and blue.
} Film;

typedef struct {
  float *luma, *across, *down;  // Of one band, at half the size.
} Reference;

static Film films[FILMS];
static Reference *references[SAMPLE_FRAMES];

static void load_film(Film *film, uint32_t seed) {
  Random random = {seed};
  float red = 0.2f + 0.3f * next_float(&random), green = 0.4f + 0.3f * next_float(&random), blue = 1 - red - green;
  float toe = 0.3f + 0.5f * next_float(&random);
  uint8_t curve[256];
  for (int k = 0; k < 256; k++) {
    float v = (float)k / 255;
    curve[k] = (uint8_t)(255 * (toe * v + (1 - toe) * v * v * (3 - 2 * v)));
  }
  for (int r = 0; r < SIDE; r++) {
    uint8_t *to = film->planes[r] = take(SIDE * SIDE);
    for (int g = 0; g < SIDE; g++) {
      for (int b = 0; b < SIDE; b++) {
        float value = (red * (float)r + green * (float)g + blue * (float)b) * (255.0f / (SIDE - 1));
        *to++ = curve[value <= 0 ? 0 : value >= 255 ? 255 : (int)value];
      }
    }
  }
}

static Reference make_reference(uint8_t *const *rows, int width) {
  int half = width / 2, lines = BAND / 2;
  size_t bytes = (size_t)(half * lines) * sizeof(float);
  Reference reference = {take(bytes), take(bytes), take(bytes)};
  for (int y = 0; y < lines; y++) {
    for (int x = 0; x < half; x++) {
      const uint8_t *pixel = rows[y * 2] + x * 6;
      float luma = 0.299f * pixel[0] + 0.587f * pixel[1] + 0.114f * pixel[2];
      reference.luma[y * half + x] = luma;
      reference.across[y * half + x] = x == 0 ? 0 : luma - reference.luma[y * half + x - 1];
      reference.down[y * half + x] = y == 0 ? 0 : luma - reference.luma[(y - 1) * half + x];
    }
  }
  return reference;
}

static void load_samples(Picture *frames) {
  for (int k = 0; k < SAMPLE_FRAMES; k++) {
    Scene scene = new_scene(31);
    scene.sun_x = (float)k / SAMPLE_FRAMES;
    begin_drawing(&scene, SAMPLE_WIDTH);
    frames[k] = (Picture){SAMPLE_WIDTH, SAMPLE_HEIGHT, 3, take(SAMPLE_HEIGHT * sizeof(uint8_t *))};
    references[k] = take(SAMPLE_HEIGHT / BAND * sizeof(Reference));
    for (int y = 0; y < SAMPLE_HEIGHT; y++) {
      frames[k].rows[y] = take(SAMPLE_WIDTH * 3);
      draw_row(&scene, (float)y / SAMPLE_HEIGHT, frames[k].rows[y]);
      if (y % BAND == BAND - 1) references[k][y / BAND] = make_reference(frames[k].rows + y - (BAND - 1), SAMPLE_WIDTH);
    }
    end_drawing(&scene);
  }
}

static Picture see(const Film *film, const Picture *frame) {
  Picture grey = new_picture(frame->width, frame->height, 1);
  for (int y = 0; y < frame->height; y++) {
    const uint8_t *pixel = frame->rows[y];
    for (int x = 0; x < frame->width; x++, pixel += 3) grey.rows[y][x] = film->planes[pixel[0] * SIDE >> 8][(pixel[1] * SIDE >> 8) * SIDE + (pixel[2] * SIDE >> 8)];
  }
  return grey;
}

// Frames become grey in place; each is then smoothed in time and coded.
static void process(const Film *film, Picture *frames, int count, Bytes *clip, uint32_t *means) {
  for (int k = 0; k < count; k++) {
    Picture grey = see(film, &frames[k]);
    free_picture(&frames[k]);
    frames[k] = grey;
  }
  Picture smooth = new_picture(frames[0].width, frames[0].height, 1);
  for (int k = 0; k < count; k++) {
    Picture *before = &frames[k > 0 ? k - 1 : 0], *after = &frames[k + 1 < count ? k + 1 : k];
    uint64_t sum = 0;
    for (int y = 0; y < smooth.height; y++) {
      for (int x = 0; x < smooth.width; x++) {
        smooth.rows[y][x] = (uint8_t)((before->rows[y][x] + 2 * frames[k].rows[y][x] + after->rows[y][x] + 2) >> 2);
        sum += smooth.rows[y][x];
      }
    }
    means[k] = (uint32_t)(sum / ((uint64_t)smooth.width * (uint64_t)smooth.height));
    encode_jpeg(&smooth, 80, clip);
  }
  free_picture(&smooth);
  for (int k = 0; k < count; k++) free_picture(&frames[k]);
}

EXPORT("skep_init") void skep_init(void) {
  jpeg_start();
  for (int k = 0; k < FILMS; k++) load_film(&films[k], 11 + (uint32_t)k * 6007);
  // The whole way once, as a warm-up.
  Picture frames[SAMPLE_FRAMES];
  uint32_t means[SAMPLE_FRAMES];
  Bytes clip = {0};
  load_samples(frames);
  process(&films[0], frames, SAMPLE_FRAMES, &clip, means);
  free(clip.bytes);
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  uint8_t *line_end = memchr(request.bytes, '\n', request.length), *end = request.bytes + request.length;
  int film = strncmp((char *)request.bytes, "gray film ", 10) == 0 ? (int)strtol((char *)request.bytes + 10, NULL, 10) : -1;
  if (line_end == NULL || film < 0 || film >= FILMS) {
    answer("error: the request begins with \"gray film NUMBER\", 0 to %d\n", FILMS - 1);
    return;
  }
  Picture frames[FRAMES_MAX];
  uint32_t means[FRAMES_MAX];
  Bytes clip = {0};
  int count = 0;
  size_t used = 0;
  for (uint8_t *at = line_end + 1; count < FRAMES_MAX && at < end && decode_jpeg(at, (size_t)(end - at), &frames[count], &used); at += used) {
    if (frames[count].channels != 3 || frames[count].width != frames[0].width || frames[count].height != frames[0].height) break;
    count++;
  }
  if (count == 0) {
    answer("error: there is no baseline JPEG in colour\n");
    return;
  }
  int width = frames[0].width, height = frames[0].height;
  process(&films[film], frames, count, &clip, means);
  answer("%d frames of %d x %d, %u bytes, checksum %08x, mean grey %u %u %u\n", count, width, height, (unsigned)clip.length,
         (unsigned)checksum(clip.bytes, clip.length, CHECKSUM_START), (unsigned)means[0], (unsigned)means[count / 2], (unsigned)means[count - 1]);
  free(clip.bytes);
  free(request.bytes);
}
