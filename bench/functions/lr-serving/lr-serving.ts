/**
 * lr_serving of the thesis (Table 5.1): says of reviews whether they praise or blame, by a logistic regression.
 *
 * Loaded before the snapshot: the model's dictionary of 240,000 words, each with its weight and its inverse document frequency, in
 * no order, as a dictionary that was written by a hash table has. Reviews use a few hundred of the words, over and over.
 *
 *   request   one review per line; quickest are small letters, with single spaces between the words
 *   answer    one line per review: + or -, and how sure; then a summary
 */
import { Random } from '../kit/random.ts'
import { sentimentOf, wordOf } from '../kit/words.ts'

interface Term {
  readonly weight: number
  readonly idf: number
  readonly documents: number
}

/** Without a common divisor with the step, so that every rank is visited. */
const WORDS = 240_007
const STEP = 48_271
const INTERCEPT = 0.05
const dictionary = loadDictionary()

export default {
  async fetch(request: Request): Promise<Response> {
    const reviews = (await request.text()).split('\n').filter((line) => line !== '')
    if (reviews.length === 0) return new Response('error: there is no review: send one per line\n', { status: 400 })
    const lines: string[] = []
    let praising = 0
    let unknown = 0
    for (const review of reviews) {
      const { probability, unknownWords } = judge(review)
      if (probability >= 0.5) praising++
      unknown += unknownWords
      lines.push(`${probability >= 0.5 ? '+' : '-'} ${probability.toFixed(3)}`)
    }
    return new Response(`${lines.join('\n')}\n${praising} of ${reviews.length} praise, ${unknown} words unknown\n`)
  },
}

/** TF-IDF, its length made 1, times the weights. */
function judge(review: string): { readonly probability: number; readonly unknownWords: number } {
  // Sorted, so that equal words are side by side: quicker here than counting them in a Map.
  const words = review.split(' ').sort()
  let sum = 0
  let squares = 0
  let unknownWords = 0
  for (let at = 0; at < words.length; ) {
    const word = words[at]!
    let count = 1
    while (words[at + count] === word) count++
    at += count
    const term = dictionary.get(word)
    if (term === undefined) {
      // The dictionary has small letters only. Most reviews come so; others are judged anew.
      if (/[^a-z]/.test(word)) return judge(review.toLowerCase().replaceAll(/[^a-z]+/g, ' '))
      if (word !== '') unknownWords++
      continue
    }
    const value = count * term.idf
    squares += value * value
    sum += value * term.weight
  }
  const score = INTERCEPT + (squares === 0 ? 0 : sum / Math.sqrt(squares))
  return { probability: 1 / (1 + Math.exp(-score)), unknownWords }
}

function loadDictionary(): Map<string, Term> {
  const random = new Random(3141)
  const loaded = new Map<string, Term>()
  for (let index = 0; index < WORDS; index++) {
    const rank = (index * STEP) % WORDS
    const documents = Math.max(1, Math.floor(50_000 / (1 + rank / 10)))
    loaded.set(wordOf(rank), { weight: sentimentOf(rank) * (1 + random.fraction()) + (random.fraction() - 0.5) * 0.2, idf: 1 + Math.log(50_001 / (documents + 1)), documents })
  }
  return loaded
}
