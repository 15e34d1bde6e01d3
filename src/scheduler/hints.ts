/**
 * The bytes that an invocation will probably pull, by the worker that holds them: read from the references in its payload.
 *
 * Code hands references on as text, inside whatever its payload is; so the payload is searched for them, and what looks like one is opened by whoever
 * can. A payload is at most 64 KB here (larger ones do not travel with the invocation), and finding nothing in that takes some µs.
 *
 * Invariants:
 *   H1. Any bytes give an answer; at most {@link REFERENCES_MAX} are opened, each once.
 */

export interface Located {
  readonly worker: string
  readonly bytes: number
}

/** Opening one costs some µs, and the first ones of a long list say enough about where the data is. */
export const REFERENCES_MAX = 64

const PREFIX = Buffer.from('skep:1:')
/** More than a reference has (transfer/reference.ts). */
const LENGTH_MAX = 512

/**
 * @param locate Who holds a reference's object, and how large it is; undefined for what is no reference of the invocation's namespace.
 * @returns Undefined when nothing is referenced.
 */
export function heldBytes(payload: Buffer, locate: (reference: string) => Located | undefined): ReadonlyMap<string, number> | undefined {
  let at = payload.indexOf(PREFIX)
  if (at < 0) return undefined
  const seen = new Set<string>()
  const held = new Map<string, number>()
  while (at >= 0 && seen.size < REFERENCES_MAX) {
    const end = endOf(payload, at + PREFIX.length)
    const reference = payload.toString('latin1', at, end)
    if (!seen.has(reference)) {
      seen.add(reference)
      const located = locate(reference)
      if (located !== undefined) held.set(located.worker, (held.get(located.worker) ?? 0) + located.bytes)
    }
    at = payload.indexOf(PREFIX, end)
  }
  return held.size > 0 ? held : undefined
}

/** Where the base64url that begins there ends. */
function endOf(payload: Buffer, start: number): number {
  const endMax = Math.min(payload.length, start + LENGTH_MAX)
  let end = start
  while (end < endMax && isBase64Url(payload[end]!)) end++
  return end
}

function isBase64Url(byte: number): boolean {
  return (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x5f
}
