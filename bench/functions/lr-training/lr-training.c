// lr_training of the thesis (Table 5.1): trains a logistic regression that tells praise from blame in reviews.
//
// Initialised: 56,000 reviews, of which each shard of twelve has its text, its tokens, its raw counts and its TF-IDF features of
// words and pairs of words, in four pieces of memory; only the features are read when a model is trained. The request gives how
// to train, which tenth to hold back for testing, and reviews of its own, which are added with a large weight.
//
//   request   train epochs <n> rate <thousandths> fold <0..9>\n and lines "+ text" or "- text"
//   answer    loss and accuracy, the strongest words, what the model says of the given reviews, and a checksum of its weights
#include "../common/words.h"

enum { REVIEWS = 56000, SHARD = 12, SHARDS = REVIEWS / SHARD, WORDS = 40000, SPACE = 1 << 18, TOKENS_MAX = 160, OWN_MAX = 64, STRONGEST = 5, FOLDS = 10 };

typedef struct {
  uint32_t index;
  float value;
} Feature;

typedef struct {
  Feature *features, *counts;
  uint32_t *tokens;
  char *text;
  uint16_t lengths[SHARD];  // Features per review.
  int8_t labels[SHARD];
} Shard;

static Shard *shards[SHARDS];
static float *idf;      // By feature.
static uint32_t *seen;  // By feature: the review that was last to have it, and where.
static uint16_t *place;
static float zipf[4096];
static uint32_t seen_count;

static uint32_t draw_rank(Random *random) {
  uint32_t bits = next_random(random) >> 8;
  float low = zipf[bits >> 12], high = (bits >> 12) < 4095 ? zipf[(bits >> 12) + 1] : WORDS;
  return (uint32_t)(low + (high - low) * (float)(bits & 4095) / 4096.0f) - 1;
}

static uint32_t pair_index(uint32_t a, uint32_t b) { return WORDS + (a * 2654435761u ^ b * 2246822519u) % (SPACE - WORDS); }

// Counts words and pairs in the order in which they first come.
static int count_features(const uint32_t *tokens, int count, Feature *to) {
  int length = 0;
  seen_count++;
  for (int k = 0; k < count * 2 - 1; k++) {
    uint32_t index = k < count ? tokens[k] : pair_index(tokens[k - count], tokens[k - count + 1]);
    if (seen[index] == seen_count) {
      to[place[index]].value += 1;
      continue;
    }
    seen[index] = seen_count;
    place[index] = (uint16_t)length;
    to[length++] = (Feature){index, 1};
  }
  return length;
}

static void weigh(const Feature *counts, int count, Feature *to) {
  float sum = 0;
  for (int k = 0; k < count; k++) {
    to[k] = (Feature){counts[k].index, counts[k].value * idf[counts[k].index]};
    sum += to[k].value * to[k].value;
  }
  for (int k = 0; k < count; k++) to[k].value /= sqrtf(sum);
}

static int write_review(int label, Random *random, uint32_t *tokens) {
  int count = 50 + (int)(next_random(random) % (TOKENS_MAX - 60));
  for (int k = 0; k < count; k++) {
    tokens[k] = draw_rank(random);
    // Who praises seldom uses words of blame.
    if (sentiment_of(tokens[k]) * label < 0 && next_random(random) % 4 > 0) tokens[k] = draw_rank(random);
  }
  return count;
}

static void load_shard(Shard *shard, Random *random) {
  uint32_t tokens[SHARD][TOKENS_MAX];
  static Feature counts[SHARD][TOKENS_MAX * 2];
  char word[16];
  int counted[SHARD], token_count = 0, feature_count = 0, text_length = 0;
  for (int r = 0; r < SHARD; r++) {
    shard->labels[r] = next_random(random) % 2 ? 1 : -1;
    counted[r] = write_review(shard->labels[r], random, tokens[r]);
    shard->lengths[r] = (uint16_t)count_features(tokens[r], counted[r], counts[r]);
    token_count += counted[r];
    feature_count += shard->lengths[r];
    for (int k = 0; k < counted[r]; k++) text_length += write_word(tokens[r][k], word) + 1;
  }
  char *text = shard->text = take((size_t)text_length + 1);
  uint32_t *token = shard->tokens = take((size_t)token_count * sizeof(uint32_t));
  Feature *count = shard->counts = take((size_t)feature_count * sizeof(Feature));
  shard->features = take((size_t)feature_count * sizeof(Feature));
  for (int r = 0; r < SHARD; r++) {
    memcpy(token, tokens[r], (size_t)counted[r] * sizeof(uint32_t));
    memcpy(count, counts[r], shard->lengths[r] * sizeof(Feature));
    token += counted[r];
    count += shard->lengths[r];
    for (int k = 0; k < shard->lengths[r]; k++) idf[counts[r][k].index] += 1;
    for (int k = 0; k < counted[r]; k++) {
      text += write_word(tokens[r][k], text);
      *text++ = ' ';
    }
  }
  *text = 0;
}

EXPORT("skep_init") void skep_init(void) {
  Random random = {20201};
  idf = take(SPACE * sizeof(float));
  seen = take(SPACE * sizeof(uint32_t));
  place = take(SPACE * sizeof(uint16_t));
  memset(idf, 0, SPACE * sizeof(float));
  memset(seen, 0, SPACE * sizeof(uint32_t));
  for (int k = 0; k < 4096; k++) zipf[k] = powf(WORDS, (float)k / 4096);
  for (int s = 0; s < SHARDS; s++) load_shard(shards[s] = take(sizeof(Shard)), &random);
  for (int k = 0; k < SPACE; k++) idf[k] = logf((REVIEWS + 1) / (idf[k] + 1)) + 1;
  for (int s = 0; s < SHARDS; s++) {
    Shard *shard = shards[s];
    for (int r = 0, at = 0; r < SHARD; at += shard->lengths[r++]) weigh(shard->counts + at, shard->lengths[r], shard->features + at);
  }
}

static float score(const float *weights, const Feature *features, int count) {
  float sum = weights[SPACE];
  for (int k = 0; k < count; k++) sum += weights[features[k].index] * features[k].value;
  return sum;
}

// One step of stochastic gradient descent; returns the loss before it.
static float learn(float *weights, const Feature *features, int count, int label, float rate) {
  float margin = (float)label * score(weights, features, count);
  float slope = rate * (float)label / (1 + expf(margin));
  for (int k = 0; k < count; k++) weights[features[k].index] += slope * features[k].value;
  weights[SPACE] += slope * 0.1f;
  return margin < -30 ? -margin : logf(1 + expf(-margin));
}

typedef struct {
  Feature features[TOKENS_MAX * 2];
  int count, label;
} Own;

static int read_own(char *at, Own *own) {
  int found = 0;
  for (char *next; at != NULL && *at != 0 && found < OWN_MAX; at = next) {
    uint32_t tokens[TOKENS_MAX];
    int count = 0;
    next = strchr(at, '\n');
    if (next != NULL) *next++ = 0;
    if (at[0] != '+' && at[0] != '-') continue;
    for (char *word = at + 1; *word != 0 && count < TOKENS_MAX;) {
      int length = (int)strcspn(word, " ");
      uint32_t rank = rank_of(word, length);
      if (rank < WORDS) tokens[count++] = rank;
      word += length + (word[length] != 0);
    }
    if (count == 0) continue;
    Feature counts[TOKENS_MAX * 2];
    own[found].label = at[0] == '+' ? 1 : -1;
    own[found].count = count_features(tokens, count, counts);
    weigh(counts, own[found].count, own[found].features);
    found++;
  }
  return found;
}

static void show_strongest(const float *weights, int sign) {
  uint32_t shown[STRONGEST];
  answer(sign > 0 ? "praise:" : "blame:");
  for (int k = 0; k < STRONGEST; k++) {
    char word[16];
    int best = -1;
    for (int w = 0; w < WORDS; w++) {
      int is_shown = 0;
      for (int j = 0; j < k; j++) is_shown |= shown[j] == (uint32_t)w;
      if (!is_shown && (best < 0 || weights[w] * (float)sign > weights[best] * (float)sign)) best = w;
    }
    shown[k] = (uint32_t)best;
    write_word(shown[k], word);
    answer(" %s", word);
  }
  answer("\n");
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  char *at = (char *)request.bytes, *lines = strchr(at, '\n');
  long epochs = 0, rate = 0, fold = -1;
  if (strncmp(at, "train epochs ", 13) == 0) epochs = strtol(at + 13, &at, 10);
  if (strncmp(at, " rate ", 6) == 0) rate = strtol(at + 6, &at, 10);
  if (strncmp(at, " fold ", 6) == 0) fold = strtol(at + 6, &at, 10);
  if (epochs < 1 || epochs > 20 || rate < 1 || fold < 0 || fold >= FOLDS) {
    answer("error: the request is \"train epochs 1..20 rate THOUSANDTHS fold 0..%d\", then reviews\n", FOLDS - 1);
    return;
  }
  Own *own = take(OWN_MAX * sizeof(Own));
  int own_count = lines == NULL ? 0 : read_own(lines + 1, own);
  float *weights = take((SPACE + 1) * sizeof(float));
  memset(weights, 0, (SPACE + 1) * sizeof(float));
  for (int e = 0; e < epochs; e++) {
    float loss = 0, step = (float)rate * 0.001f / (1 + (float)e);
    for (int s = 0; s < SHARDS; s++) {
      const Shard *shard = shards[s];
      if (s % FOLDS == fold) continue;
      for (int r = 0, from = 0; r < SHARD; from += shard->lengths[r++]) loss += learn(weights, shard->features + from, shard->lengths[r], shard->labels[r], step);
    }
    for (int k = 0; k < own_count; k++) learn(weights, own[k].features, own[k].count, own[k].label, step * 4);
    answer("epoch %d: loss %d/1000\n", e + 1, (int)(loss / (REVIEWS * (FOLDS - 1) / FOLDS) * 1000));
  }
  int right = 0, tested = 0;
  for (int s = (int)fold; s < SHARDS; s += FOLDS) {
    const Shard *shard = shards[s];
    for (int r = 0, from = 0; r < SHARD; from += shard->lengths[r++], tested++) right += score(weights, shard->features + from, shard->lengths[r]) * (float)shard->labels[r] > 0;
  }
  answer("tested on %d: %d/1000 right\n", tested, right * 1000 / tested);
  show_strongest(weights, 1);
  show_strongest(weights, -1);
  answer("given:");
  for (int k = 0; k < own_count; k++) answer(" %c", score(weights, own[k].features, own[k].count) > 0 ? '+' : '-');
  answer("\nchecksum %08x\n", (unsigned)checksum((uint8_t *)weights, (SPACE + 1) * sizeof(float), CHECKSUM_START));
  free(weights);
  free(own);
  free(request.bytes);
}
