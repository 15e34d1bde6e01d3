// cnn_serving of the thesis (Table 5.1): says what a photo shows, by a convolutional network.
//
// Four times 3 x 3 convolution, ReLU and 2 x 2 maximum on 64 x 64 colours, then two dense layers, to 1000 classes. Initialised: two
// versions of the model, each from its training checkpoint (common/checkpoint.h); an invocation uses one. The first layer's
// filters are oriented edges and colour opponents, as trained networks have them; the others are random, so what is said of a photo
// is reproducible and not true.
//
//   request   classify model <0|1>\n<JPEG>
//   answer    the five best classes with their scores
#include "../common/checkpoint.h"
#include "../common/jpeg.h"

enum { MODELS = 2, CONVOLUTIONS = 4, SIDE = 64, CLASSES = 1000, HIDDEN = 1536, BEST = 5 };

static const int channels[CONVOLUTIONS + 1] = {3, 24, 48, 96, 128};

typedef struct {
  Layer convolutions[CONVOLUTIONS], hidden, output;
} Model;

static Model models[MODELS];
static char *labels[CLASSES];

// Gabor filters for brightness, every third one for one colour against the others.
static void draw_edges(Layer *layer) {
  for (int o = 0; o < layer->outputs; o++) {
    float angle = (float)o * 0.2618f;
    for (int c = 0; c < 3; c++) {
      for (int k = 0; k < 9; k++) {
        float x = (float)(k % 3 - 1), y = (float)(k / 3 - 1), along = x * cosf(angle) + y * sinf(angle);
        float colour = o % 3 == 0 ? (c == o / 3 % 3 ? 1 : -0.5f) : 1;
        layer->rows[o].weights[c * 9 + k] = 0.4f * colour * sinf(1.6f * along + (float)(o % 2)) * expf(-0.3f * (x * x + y * y));
      }
    }
  }
}

static void load_model(Model *model, uint32_t seed) {
  for (int k = 0; k < CONVOLUTIONS; k++) model->convolutions[k] = load_layer(channels[k] * 9, channels[k + 1], seed + (uint32_t)k);
  draw_edges(&model->convolutions[0]);
  model->hidden = load_layer(channels[CONVOLUTIONS] * 16, HIDDEN, seed + 10);
  model->output = load_layer(HIDDEN, CLASSES, seed + 11);
}

static void load_labels(void) {
  static const char *const whats[] = {"oak", "heron", "tractor", "violin", "lantern", "harbour", "terrier", "kettle", "glacier", "beetle"};
  static const char *const hows[] = {"young", "old", "red", "striped", "distant", "small", "wet", "two of", "part of", "shadow of"};
  static const char *const wheres[] = {"indoors", "in a field", "at night", "by the sea", "in snow", "in a street", "close by", "in rain", "on a table", "in a wood"};
  for (int k = 0; k < CLASSES; k++) {
    labels[k] = take(48);
    snprintf(labels[k], 48, "%s %s, %s", hows[k / 10 % 10], whats[k % 10], wheres[k / 100]);
  }
}

// Planes of `side` x `side`, in a frame of zeros so wide: a convolution then needs no case for the edges.
static float *new_planes(int count, int side, int frame) {
  size_t bytes = (size_t)(count * (side + 2 * frame) * (side + 2 * frame)) * sizeof(float);
  return memset(take(bytes), 0, bytes);
}

// Averages the photo down to the network's input, three planes around zero.
static float *fit(const Picture *photo) {
  float *planes = new_planes(3, SIDE, 1);
  for (int y = 0; y < SIDE; y++) {
    int top = y * photo->height / SIDE, bottom = (y + 1) * photo->height / SIDE;
    if (bottom == top) bottom++;
    for (int x = 0; x < SIDE; x++) {
      int left = x * photo->width / SIDE, right = (x + 1) * photo->width / SIDE;
      if (right == left) right++;
      for (int c = 0; c < 3; c++) {
        int sum = 0;
        for (int v = top; v < bottom; v++)
          for (int u = left; u < right; u++) sum += photo->rows[v][u * 3 + c];
        planes[(c * (SIDE + 2) + y + 1) * (SIDE + 2) + x + 1] = (float)sum / (float)((bottom - top) * (right - left)) / 127.5f - 1;
      }
    }
  }
  return planes;
}

static v128_t highest_of_pairs(v128_t left, v128_t right) {
  return wasm_f32x4_pmax(wasm_i32x4_shuffle(left, right, 0, 2, 4, 6), wasm_i32x4_shuffle(left, right, 1, 3, 5, 7));
}

// Four pixels of two planes behind 3 x 3 convolution, ReLU and 2 x 2 maximum: `in` is the upper left of the 4 x 10 pixels that they
// depend on. All 32 sums before the maximum stay in registers.
static inline void convolve_eight(const Layer *layer, int o, const float *in, int stride, float *const out[2]) {
  const float *weights[2] = {layer->rows[o].weights, layer->rows[o + 1].weights};
  v128_t sums[2][2][2], zero = wasm_f32x4_splat(0);  // By plane, row and half of the row.
  for (int p = 0; p < 2; p++)
    for (int y = 0; y < 2; y++) sums[p][y][0] = sums[p][y][1] = wasm_f32x4_splat(layer->bias[o + p]);
  for (int at = 0; at < layer->inputs; at += 9, in += stride * stride) {
    for (int k = 0; k < 9; k++) {
      v128_t weight[2] = {wasm_v128_load32_splat(weights[0] + at + k), wasm_v128_load32_splat(weights[1] + at + k)};
      for (int y = 0; y < 2; y++) {
        const float *from = in + (y + k / 3) * stride + k % 3;
        for (int p = 0; p < 2; p++)
          for (int x = 0; x < 2; x++) sums[p][y][x] = multiply_add(sums[p][y][x], from + x * 4, weight[p]);
      }
    }
  }
  for (int p = 0; p < 2; p++) {
    v128_t left = wasm_f32x4_pmax(sums[p][0][0], sums[p][1][0]), right = wasm_f32x4_pmax(sums[p][0][1], sums[p][1][1]);
    wasm_v128_store(out[p], wasm_f32x4_pmax(zero, highest_of_pairs(left, right)));
  }
}

// 3 x 3 convolution with ReLU and 2 x 2 maximum, to planes in a frame so wide. Frees its input.
static float *convolve(const Layer *layer, float *in, int side, int frame) {
  int half = side / 2, to_stride = half + 2 * frame;
  float *out = new_planes(layer->outputs, half, frame);
  for (int o = 0; o < layer->outputs; o += 2) {
    for (int y = 0; y < half; y++) {
      for (int x = 0; x < half; x += 4) {
        float *to = out + (o * to_stride + y + frame) * to_stride + x + frame;
        convolve_eight(layer, o, in + y * 2 * (side + 2) + x * 2, side + 2, (float *[]){to, to + to_stride * to_stride});
      }
    }
  }
  free(in);
  return out;
}

// The scores of all classes, adding to 1. Frees the input.
static float *predict(const Model *model, float *planes) {
  int side = SIDE;
  for (int k = 0; k < CONVOLUTIONS; k++, side /= 2) planes = convolve(&model->convolutions[k], planes, side, k + 1 < CONVOLUTIONS);
  float *hidden = take(HIDDEN * sizeof(float)), *scores = take(CLASSES * sizeof(float)), highest = -1e30f, sum = 0;
  memcpy(hidden, model->hidden.bias, HIDDEN * sizeof(float));
  add_products(model->hidden.rows, HIDDEN, 0, planes, model->hidden.inputs, hidden);
  for (int o = 0; o < HIDDEN; o++) hidden[o] = fmaxf(0, hidden[o]);
  memcpy(scores, model->output.bias, CLASSES * sizeof(float));
  add_products(model->output.rows, CLASSES, 0, hidden, HIDDEN, scores);
  for (int o = 0; o < CLASSES; o++) highest = fmaxf(highest, scores[o]);
  for (int o = 0; o < CLASSES; o++) sum += scores[o] = expf((scores[o] - highest) * 4);
  for (int o = 0; o < CLASSES; o++) scores[o] /= sum;
  free(hidden);
  free(planes);
  return scores;
}

EXPORT("skep_init") void skep_init(void) {
  jpeg_start();
  load_labels();
  for (int k = 0; k < MODELS; k++) load_model(&models[k], 1000 + (uint32_t)k * 555);
  // One prediction as a warm-up, of a grey picture.
  Picture grey = new_picture(256, 256, 3);
  for (int y = 0; y < 256; y++) memset(grey.rows[y], 128, 256 * 3);
  float *planes = fit(&grey);
  free_picture(&grey);
  free(predict(&models[MODELS - 1], planes));
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  uint8_t *line_end = memchr(request.bytes, '\n', request.length);
  int number = strncmp((char *)request.bytes, "classify model ", 15) == 0 ? request.bytes[15] - '0' : -1;
  Picture photo;
  size_t used;
  if (line_end == NULL || number < 0 || number >= MODELS) {
    answer("error: the request begins with \"classify model NUMBER\", 0 to %d\n", MODELS - 1);
    return;
  }
  if (!decode_jpeg(line_end + 1, (size_t)(request.bytes + request.length - line_end - 1), &photo, &used) || photo.channels != 3) {
    answer("error: this is no baseline JPEG in colour\n");
    return;
  }
  float *scores = predict(&models[number], fit(&photo));
  for (int k = 0; k < BEST; k++) {
    int best = 0;
    for (int o = 1; o < CLASSES; o++)
      if (scores[o] > scores[best]) best = o;
    answer("%d. %s: %d/1000\n", k + 1, labels[best], (int)(scores[best] * 1000 + 0.5f));
    scores[best] = -1;
  }
  free(scores);
  free_picture(&photo);
  free(request.bytes);
}
