/**
 * The words of a made-up language, by rank: as short as they are frequent, drawn by Zipf's law, some with a sentiment.
 *
 * The same as common/words.h: the inputs and the functions have to know the same words, and no list of words has to be kept.
 */
import type { Random } from './random.ts'

const CONSONANTS = 'bdfghjklmnprstvz'
const VOWELS = 'aeiou'

/** The word of a rank: bijective base 80, in syllables. */
export function wordOf(rank: number): string {
  let word = ''
  for (let rest = rank + 1; rest > 0; rest = Math.floor((rest - 1) / 80)) {
    const digit = (rest - 1) % 80
    word = CONSONANTS[Math.floor(digit / 5)]! + VOWELS[digit % 5]! + word
  }
  return word
}

/** The most frequent words, articles as it were, say nothing. */
export const STOP_WORDS = 40

/** 1 praises, -1 blames, 0 neither. */
export function sentimentOf(rank: number): -1 | 0 | 1 {
  const kind = ((Math.imul(rank, 2_654_435_761) >>> 16) & 0xffff) % 8
  return rank < STOP_WORDS ? 0 : kind === 0 ? 1 : kind === 1 ? -1 : 0
}

/** A rank below `count`, by Zipf's law: that the k-th word comes is as likely as 1/k. */
export function drawRank(random: Random, count: number): number {
  return Math.min(count - 1, Math.floor((count + 1) ** random.fraction()) - 1)
}

/** A review of `length` words, of ranks that `draw` gives. Who praises (label 1) seldom uses words of blame. */
export function writeReview(random: Random, label: -1 | 1, length: number, draw: () => number): string {
  const words: string[] = []
  while (words.length < length) {
    const rank = draw()
    if (sentimentOf(rank) * label < 0 && random.below(4) > 0) continue
    words.push(wordOf(rank))
  }
  return words.join(' ')
}
