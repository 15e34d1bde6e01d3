/**
 * Where a listing goes on: the journal time and number of a block, and how many of its records were seen, as `<ms>-<number>-<seen>`
 * in base 36. It comes back from outside, so it is checked like any input.
 */
import { PlatformError } from '#contract/errors.ts'

export interface RecordCursor {
  /** Journal time of the block, epoch ms. */
  readonly atMs: number
  /** Its number. */
  readonly number: number
  /** How many of its records, from its newest, the caller has been shown or need not see. */
  readonly seen: number
}

export function formatCursor(cursor: RecordCursor): string {
  return [cursor.atMs, cursor.number, cursor.seen].map((part) => part.toString(36)).join('-')
}

/** @throws INPUT_INVALID when the text was not made by {@link formatCursor}. */
export function parseCursor(text: string): RecordCursor {
  const parts = /^([0-9a-z]{1,10})-([0-9a-z]{1,10})-([0-9a-z]{1,4})$/.exec(text)
  const [atMs, number, seen] = (parts ?? []).slice(1).map((part) => Number.parseInt(part, 36))
  if (atMs === undefined || number === undefined || seen === undefined) {
    throw new PlatformError('INPUT_INVALID', `The cursor ${JSON.stringify(text.slice(0, 40))} is none that a listing gave: take \`cursor\` of the page before, unchanged.`)
  }
  return { atMs, number, seen }
}
