/**
 * Counts the words of a text while it arrives: the body may be larger than the memory. `?top=` says how many words to
 * name (20 if not said), most frequent first, equals by alphabet.
 *
 * A word is a run of letters and digits in any script, with apostrophes inside: "don't" is one, "'tis" is "tis".
 */
const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu
/** The last place of a text where it can be cut without cutting a word. */
const BREAK = /\s(?=\S*$)/

export interface WordCount {
  readonly words: number
  readonly distinct: number
  readonly top: readonly { readonly word: string; readonly count: number }[]
}

export default {
  async fetch(request: Request): Promise<Response> {
    const asked = new URL(request.url).searchParams.get('top') ?? '20'
    const top = Number(asked)
    if (!Number.isInteger(top) || top < 0) return refuse(`top is ${JSON.stringify(asked)}, and must be a whole number from 0.`)
    if (request.body === null) return refuse('There is no text: send it as the body.')
    const { words, counts } = await count(request.body)
    const answer: WordCount = { words, distinct: counts.size, top: mostFrequent(counts, top) }
    return Response.json(answer)
  },
}

async function count(body: ReadableStream<Uint8Array>): Promise<{ readonly words: number; readonly counts: ReadonlyMap<string, number> }> {
  const counts = new Map<string, number>()
  let words = 0
  const add = (text: string): void => {
    for (const word of text.toLowerCase().match(WORD) ?? []) {
      words++
      counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    const text = decoder.decode(chunk, { stream: true })
    const end = text.search(BREAK)
    if (end < 0) rest += text
    else {
      add(rest + text.slice(0, end))
      rest = text.slice(end)
    }
  }
  add(rest + decoder.decode())
  return { words, counts }
}

function mostFrequent(counts: ReadonlyMap<string, number>, top: number): WordCount['top'] {
  const sorted = [...counts].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))
  return sorted.slice(0, top).map(([word, count]) => ({ word, count }))
}

function refuse(message: string): Response {
  return Response.json({ error: { code: 'INPUT_INVALID', message } }, { status: 400 })
}
