/**
 * How often each word occurs in the objects of a bucket: map, then reduce by four. From examples/map: node word-count.ts BUCKET [PREFIX]
 *
 * The words of a part never come to this program, only the sums of all.
 */
import { Executor } from '../../clients/map/main.ts'

export type Counts = Map<string, number>

export function countWords(text: Uint8Array): Counts {
  const counts: Counts = new Map()
  for (const [word] of new TextDecoder().decode(text).toLowerCase().matchAll(/\p{L}+/gu)) counts.set(word, (counts.get(word) ?? 0) + 1)
  return counts
}

export function addUp(parts: readonly Counts[]): Counts {
  const sums: Counts = new Map()
  for (const part of parts) for (const [word, count] of part) sums.set(word, (sums.get(word) ?? 0) + count)
  return sums
}

if (import.meta.main) {
  const [bucket, prefix = ''] = process.argv.slice(2)
  if (bucket === undefined) throw new Error('Say which bucket: node word-count.ts BUCKET [PREFIX]')
  await using run = new Executor()
  const shares = await run.mapReduce(countWords, { bucket, prefix, chunkBytes: 4_000_000 }, addUp, { reducers: 4 }).result()
  const words = shares.flatMap((share) => [...share]).sort(([, a], [, b]) => b - a)
  for (const [word, count] of words.slice(0, 10)) console.log(String(count).padStart(8), word)
}
