/**
 * A page of a bucket's keys, in the order of their UTF-8 bytes, with keys that share what stands before a delimiter rolled
 * into one common prefix (Amazon S3, ListObjectsV2).
 *
 * The store lists by prefix and from a key on, each an index range. A common prefix is passed over in the page that it began in, and
 * when it goes on beyond that, by starting the next page behind it: so a "directory" of 100,000 keys costs one page, not 500.
 *
 * Invariants:
 *   L1. Pages from `next` on give every entry once, as long as nothing changes.
 *   L2. At most `limit` entries, objects and common prefixes together; `next` is there exactly when there are more.
 */
import type { Store } from '#store/store.ts'

export interface ListQuery {
  readonly prefix: string
  /** Empty: none. */
  readonly delimiter: string
  /** Begins after this key; behind the whole of it, if it is a common prefix. */
  readonly after: string
  readonly limit: number
}

export type Listed<Value> = { readonly kind: 'entry'; readonly key: string; readonly value: Value } | { readonly kind: 'prefix'; readonly key: string }

export interface Listing<Value> {
  readonly entries: readonly Listed<Value>[]
  /** `after` of the next page; undefined at the end. */
  readonly next: string | undefined
}

/** No key has this character (U+10FFFF is none for text), so this is behind all that begin with the prefix. */
export const KEY_CHARACTER_LAST = '\u{10FFFF}'
const PAGE_ROWS = 1000
/** With a delimiter, most of a page may be passed over. */
const PAGE_ROWS_ROLLED = 200

/** @param base Prefix of the bucket in the collection. */
export async function listKeys<Value>(store: Pick<Store, 'list'>, collection: string, base: string, query: ListQuery): Promise<Listing<Value>> {
  const { prefix, delimiter, limit } = query
  const entries: Listed<Value>[] = []
  if (limit === 0) return { entries, next: undefined }
  let rolled = commonPrefix(query.after, prefix, delimiter) === query.after && query.after !== '' ? query.after : undefined
  let position = rolled === undefined ? query.after : rolled + KEY_CHARACTER_LAST
  const rowsMax = delimiter === '' ? PAGE_ROWS : PAGE_ROWS_ROLLED
  for (;;) {
    const rows = await store.list<Value>(collection, { prefix: base + prefix, after: base + position, limit: Math.min(rowsMax, limit + 1) })
    for (const { key: stored, value } of rows) {
      const key = stored.slice(base.length)
      position = key
      const common = commonPrefix(key, prefix, delimiter)
      if (common !== undefined && common === rolled) continue
      if (entries.length === limit) return { entries, next: entries.at(-1)!.key }
      rolled = common
      entries.push(common === undefined ? { kind: 'entry', key, value } : { kind: 'prefix', key: common })
    }
    if (rows.length < Math.min(rowsMax, limit + 1)) return { entries, next: undefined }
    // A page is read in one go; others get their turn between pages.
    await new Promise((resolve) => setImmediate(resolve))
    if (rolled !== undefined) position = rolled + KEY_CHARACTER_LAST
  }
}

/** Up to and with the first delimiter behind the prefix. */
function commonPrefix(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined
  const at = key.indexOf(delimiter, prefix.length)
  return at === -1 ? undefined : key.slice(0, at + delimiter.length)
}
