// The words of a made-up language, by rank: as short as they are frequent, drawn by Zipf's law, some with a sentiment.
//
// kit/words.ts is the same in TypeScript: the inputs and the functions have to know the same words.
#pragma once

#include <math.h>

#include "function.h"

static const char consonants[] = "bdfghjklmnprstvz", vowels[] = "aeiou";

// Bijective base 80 in syllables. At most 16 bytes with the zero; returns the length.
static inline int write_word(uint32_t rank, char *to) {
  char syllables[6][2];
  int count = 0, length = 0;
  for (uint32_t rest = rank + 1; rest > 0 && count < 6; rest = (rest - 1) / 80, count++) {
    uint32_t digit = (rest - 1) % 80;
    syllables[count][0] = consonants[digit / 5];
    syllables[count][1] = vowels[digit % 5];
  }
  while (count-- > 0) {
    to[length++] = syllables[count][0];
    to[length++] = syllables[count][1];
  }
  to[length] = 0;
  return length;
}

// The rank of a word, or UINT32_MAX. Words of other languages have none.
static inline uint32_t rank_of(const char *word, int length) {
  uint64_t value = 0;
  if (length == 0 || length % 2 == 1 || length > 10) return UINT32_MAX;
  for (int at = 0; at < length; at += 2) {
    const char *consonant = strchr(consonants, word[at]), *vowel = strchr(vowels, word[at + 1]);
    if (consonant == NULL || vowel == NULL || *consonant == 0 || *vowel == 0) return UINT32_MAX;
    value = value * 80 + (uint64_t)(consonant - consonants) * 5 + (uint64_t)(vowel - vowels) + 1;
  }
  return value > UINT32_MAX ? UINT32_MAX : (uint32_t)(value - 1);
}

// 1 praises, -1 blames, 0 neither. The most frequent words, articles as it were, say nothing.
static inline int sentiment_of(uint32_t rank) {
  uint32_t kind = (rank * 2654435761u >> 16) % 8;
  return rank < 40 ? 0 : kind == 0 ? 1 : kind == 1 ? -1 : 0;
}
