// rnn_serving of the thesis (Table 5.1): writes names in the manner of a language, letter by letter, by a recurrent network.
//
// A gated recurrent unit of 512 over the letter and the language, whose scores are added to how often a letter follows another
// in that language, so that what comes out can be spoken and ends. Initialised: the layers from a training checkpoint
// (common/checkpoint.h), and a register of known names, in which every new name is looked up.
//
//   request   names <language 0..17> <seed> <initials>\n
//   answer    one line per initial: the name, how likely, and whether it is known
#include "../common/checkpoint.h"

enum { LETTERS = 27, END = 26, UNITS = 512, LANGUAGES = 18, NAMES = 120000, BUCKETS = 131072, LENGTH_MAX = 14 };

typedef struct Name {
  struct Name *next;
  uint32_t hash, bearers;
  char text[LENGTH_MAX + 2];
  char note[];  // Where it comes from: nothing that a lookup reads.
} Name;

static Layer gates;  // Update, reset, candidate; over [input, state].
static Layer output;
static float letters[LETTERS + 1][UNITS], languages[LANGUAGES][UNITS];
static float follows[LANGUAGES][LETTERS][LETTERS];  // Logarithms.
static Name **names;

static int is_vowel(int letter) { return letter == 0 || letter == 4 || letter == 8 || letter == 14 || letter == 20; }

static void load_language(int language, Random *random) {
  for (int k = 0; k < UNITS; k++) languages[language][k] = 0.3f * next_normal(random);
  for (int a = 0; a < LETTERS; a++) {
    float sum = 0;
    for (int b = 0; b < LETTERS; b++) {
      float liking = next_float(random), change = is_vowel(a) != is_vowel(b) ? 1 : 0.08f;
      sum += follows[language][a][b] = b == END ? (is_vowel(a) ? 1.2f : 0.5f) : change * liking * liking;
    }
    for (int b = 0; b < LETTERS; b++) follows[language][a][b] = logf(follows[language][a][b] / sum + 1e-6f);
  }
}

static void add_name(Random *random) {
  static const char *const ends[] = {"of the valley", "after a grandfather", "a trade", "a river", "a saint", "a colour of hair"};
  int language = (int)(next_random(random) % LANGUAGES), letter = (int)(next_random(random) % END), length = 0;
  int note = 24 + (int)(next_random(random) % 160);
  Name *name = take(sizeof(Name) + (size_t)note);
  while (letter != END && length < LENGTH_MAX) {
    name->text[length++] = (char)('a' + letter);
    float dice = next_float(random), *row = follows[language][letter];
    for (letter = 0; letter < END && (dice -= expf(row[letter])) > 0;) letter++;
    if (length < 3 && letter == END) letter = (int)(next_random(random) % END);
  }
  name->text[length] = 0;
  name->hash = checksum((uint8_t *)name->text, (size_t)length, CHECKSUM_START);
  name->bearers = 1 + next_random(random) % 5000;
  snprintf(name->note, (size_t)note, "language %d; %s; in registers since %d", language, ends[next_random(random) % 6], 1500 + (int)(next_random(random) % 400));
  name->next = names[name->hash % BUCKETS];
  names[name->hash % BUCKETS] = name;
}

static uint32_t bearers_of(const char *text) {
  uint32_t hash = checksum((const uint8_t *)text, strlen(text), CHECKSUM_START), sum = 0;
  for (Name *name = names[hash % BUCKETS]; name != NULL; name = name->next)
    if (name->hash == hash && strcmp(name->text, text) == 0) sum += name->bearers;
  return sum;
}

static float sigmoid(float x) { return 1 / (1 + expf(-x)); }

// What the letter adds to every gate, with the bias. It does not depend on the state, so it is worked out once per request.
static float *load_letter(int letter, int language) {
  float input[UNITS], *sums = take(UNITS * 3 * sizeof(float));
  for (int k = 0; k < UNITS; k++) input[k] = letters[letter][k] + languages[language][k];
  memcpy(sums, gates.bias, UNITS * 3 * sizeof(float));
  add_products(gates.rows, UNITS * 3, 0, input, UNITS, sums);
  return sums;
}

// One step; replaces the state.
static void step(float *state, const float *of_letter) {
  float sums[UNITS * 3], gated[UNITS];
  memcpy(sums, of_letter, sizeof sums);
  add_products(gates.rows, UNITS * 2, UNITS, state, UNITS, sums);
  for (int k = 0; k < UNITS; k++) gated[k] = state[k] * sigmoid(sums[UNITS + k]);
  add_products(gates.rows + UNITS * 2, UNITS, UNITS, gated, UNITS, sums + UNITS * 2);
  for (int k = 0; k < UNITS; k++) {
    float update = sigmoid(sums[k]);
    state[k] = (1 - update) * state[k] + update * tanhf(sums[UNITS * 2 + k]);
  }
}

// Writes a name that begins with `letter`; returns the mean probability of its letters, in thousandths.
static int write_name(int letter, int language, float **of_letters, Random *random, char *name) {
  float state[UNITS] = {0}, scores[LETTERS], likelihood = 0;
  int length = 0;
  while (letter != END && length < LENGTH_MAX) {
    name[length++] = (char)('a' + letter);
    if (of_letters[letter] == NULL) of_letters[letter] = load_letter(letter, language);
    step(state, of_letters[letter]);
    float sum = 0, highest = -1e30f, dice = next_float(random);
    memset(scores, 0, sizeof scores);
    add_products(output.rows, LETTERS, 0, state, UNITS, scores);
    for (int b = 0; b < LETTERS; b++) {
      scores[b] = output.bias[b] + 0.5f * scores[b] + follows[language][letter][b];
      highest = fmaxf(highest, scores[b]);
    }
    for (int b = 0; b < LETTERS; b++) sum += scores[b] = expf(scores[b] - highest);
    for (letter = 0; letter < END && (dice -= scores[letter] / sum) > 0;) letter++;
    likelihood += scores[letter] / sum;
  }
  name[length] = 0;
  return (int)(likelihood / (float)length * 1000);
}

EXPORT("skep_init") void skep_init(void) {
  Random random = {4242};
  for (int a = 0; a <= LETTERS; a++)
    for (int k = 0; k < UNITS; k++) letters[a % LETTERS][k] = 0.5f * next_normal(&random);
  for (int k = 0; k < LANGUAGES; k++) load_language(k, &random);
  names = take(BUCKETS * sizeof(Name *));
  memset(names, 0, BUCKETS * sizeof(Name *));
  // The register is read while the model loads: its entries lie before, between and behind the layers.
  for (int k = 0; k < NAMES / 2; k++) add_name(&random);
  gates = load_layer(UNITS * 2, UNITS * 3, 99);
  output = load_layer(UNITS, LETTERS, 98);
  for (int k = 0; k < NAMES / 2; k++) add_name(&random);
  char name[LENGTH_MAX + 1];
  float *of_letters[LETTERS] = {0};
  write_name(0, 0, of_letters, &random, name);
  for (int k = 0; k < LETTERS; k++) free(of_letters[k]);
}

EXPORT("handle") void handle(void) {
  Bytes request = read_request();
  char initials[32] = "";
  int language = -1;
  unsigned seed = 0;
  char *at = (char *)request.bytes, *rest;
  if (strncmp(at, "names ", 6) == 0) {
    language = (int)strtol(at + 6, &rest, 10);
    seed = (unsigned)strtoul(rest, &rest, 10);
    for (size_t k = 0; *rest != 0 && *rest != '\n' && k + 1 < sizeof initials; rest++)
      if (*rest >= 'a' && *rest <= 'z') initials[k++] = *rest;
  }
  if (language < 0 || language >= LANGUAGES || initials[0] == 0) {
    answer("error: the request is \"names LANGUAGE SEED INITIALS\", languages 0 to %d, initials a to z\n", LANGUAGES - 1);
    return;
  }
  Random random = {seed * 2654435761u | 1};
  for (int k = 0; k < 4; k++) next_random(&random);
  float *of_letters[LETTERS] = {0};
  for (const char *initial = initials; *initial != 0; initial++) {
    char name[LENGTH_MAX + 1];
    int likelihood = write_name(*initial - 'a', language, of_letters, &random, name);
    uint32_t bearers = bearers_of(name);
    answer("%c%s: %d/1000, %s (%u)\n", name[0] - 'a' + 'A', name + 1, likelihood, bearers > 0 ? "known" : "new", (unsigned)bearers);
  }
  for (int k = 0; k < LETTERS; k++) free(of_letters[k]);
  free(request.bytes);
}
