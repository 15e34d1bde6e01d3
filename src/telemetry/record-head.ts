/**
 * The first line of a block of records: what is inside, so that a search passes over the block unread.
 *
 *   {"v":2,"n":17,"c":2,"e":1, …}            a block (record-codec.ts), or the whole row of a namespace's index
 *
 * Invariants:
 *   R2. A head never claims less than its block holds: a block skipped by {@link BlockHead} has no match.
 */
import type { StartKind } from '#contract/invocation-record.ts'

export interface BlockHead {
  /** Of the format: record-codec.ts writes 2; 1 is what record-codec-v1.ts reads. */
  readonly v: 1 | 2
  /** Number of the block: grows with each block that one process writes, and orders blocks of the same ms. */
  readonly n: number
  /** Records, and how many of them are errors. */
  readonly c: number
  readonly e: number
  /** Start kinds that occur. */
  readonly s: readonly StartKind[]
  /** Longest totalUs. */
  readonly x: number
  /** When the first and last of them ended, epoch ms. */
  readonly lo: number
  readonly hi: number
  /** Highest attempt. */
  readonly a: number
  /** In a namespace's index: the functions whose journals have the records (under the same number). */
  readonly f?: readonly string[]
}

/** The row of a namespace's index for these blocks of its functions; at least one. */
export function indexRow(blocks: readonly { readonly function: string; readonly head: BlockHead }[]): string {
  const heads = blocks.map((block) => block.head)
  const sum: BlockHead = {
    v: 2,
    n: heads[0]!.n,
    c: heads.reduce((count, head) => count + head.c, 0),
    e: heads.reduce((count, head) => count + head.e, 0),
    s: [...new Set(heads.flatMap((head) => head.s))],
    x: Math.max(...heads.map((head) => head.x)),
    lo: Math.min(...heads.map((head) => head.lo)),
    hi: Math.max(...heads.map((head) => head.hi)),
    a: Math.max(...heads.map((head) => head.a)),
    f: blocks.map((block) => block.function),
  }
  return `${JSON.stringify(sum)}\n`
}

/** @returns undefined when the row is damaged, or not of a version that is known here. */
export function decodeHead(row: string): BlockHead | undefined {
  const end = row.indexOf('\n')
  if (end < 0) return undefined
  try {
    if (row.startsWith('{"v":2,')) return checked(JSON.parse(row.slice(0, end)))
    // Version 1: a row was JSON as a whole, and each line ended in a comma.
    if (row.startsWith('[{"v":1,')) return checked(JSON.parse(row.slice(1, end - 1)))
  } catch {
    // Damaged.
  }
  return undefined
}

/** Only what a reader relies on: a figure that is missing makes a block be passed over or read, and loses nothing else. */
function checked(head: BlockHead): BlockHead | undefined {
  return Number.isFinite(head.n) && Number.isFinite(head.c) && Array.isArray(head.s) && (head.f === undefined || Array.isArray(head.f)) ? head : undefined
}
