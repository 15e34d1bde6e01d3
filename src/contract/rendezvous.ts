/**
 * Rendezvous hashing: every key has an order of all places, the same wherever it is asked (Thaler and Ravishankar, "Using Name-Based Mappings to
 * Increase Hit Rates", 1998). The place with the highest weight is the key's; when it goes, its keys spread over the others, and no other key moves.
 *
 * Numbers are 32-bit and signed: V8 keeps those in fields and arrays without a box.
 */

/** FNV-1a over UTF-16 code units, then mixed. Not for what an attacker must not be able to aim at. */
export function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  return mix(hash)
}

/** How much a key wants a place. Both are hashes. */
export function weightOf(key: number, place: number): number {
  return mix(Math.imul(key, 0x9e3779b1) ^ place)
}

/** The finaliser of MurmurHash3: each bit of the input changes each of the output with a probability of a half. */
function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
