/**
 * Seeded random numbers: xorshift32, the same as in common/function.h, so that both languages draw the same.
 *
 * Source: Marsaglia, Xorshift RNGs (2003).
 */

export class Random {
  #state: number

  /** @param seed Not zero. */
  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** 32 bits. */
  next(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (this.#state = x >>> 0)
  }

  /** An integer from 0 up to, not including, `end`. */
  below(end: number): number {
    return this.next() % end
  }

  /** In [0, 1). */
  fraction(): number {
    return (this.next() >>> 8) / 16_777_216
  }
}

/** A checksum as it is shown: eight hexadecimal digits. */
export function hex(hash: number): string {
  return hash.toString(16).padStart(8, '0')
}
