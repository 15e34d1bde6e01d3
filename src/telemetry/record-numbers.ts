/**
 * Numbers as the records of a block have them: mostly small and whole, many per invocation, written without an allocation.
 *
 *   whole, 0 to 2^53 - 2    number + 1 in groups of 6 bits, lowest first; 64 is added to each byte but the last
 *   any other               a byte 0, then the 64 bits of the double in ten bytes of 7 (low half, high half, 5 each)
 *
 * No byte is above 127: what is written is ASCII text, one byte per character in memory and on its way to the disk alike.
 *
 * Invariants:
 *   B1. What is read is what was written, to the last bit; only the sign of -0 is lost.
 *   B2. A reader of damaged text gives some number or throws; it always comes to an end.
 */

/** The most bytes that one number takes. */
export const NUMBER_BYTES_MAX = 11

const MORE = 64
const GROUP = 64
/** Below it, bit operations do. */
const SMALL_MAX = 2 ** 30
const WHOLE_MAX = Number.MAX_SAFE_INTEGER - 1
const THOUSAND = 1000

const double = new Float64Array(1)
const halves = new Uint32Array(double.buffer)

export class NumberWriter {
  #bytes = Buffer.allocUnsafeSlow(2048)
  #at = 0

  /** Bytes written since the start or {@link clear}. */
  get length(): number {
    return this.#at
  }

  /** Makes room for that many numbers: to be called before they are added. */
  reserve(numbers: number): void {
    if (this.#at + numbers * NUMBER_BYTES_MAX > this.#bytes.length) this.#grow(numbers * NUMBER_BYTES_MAX)
  }

  add(value: number): void {
    if (!(value >= 0 && value < SMALL_MAX && (value | 0) === value)) return this.#addLarge(value)
    const bytes = this.#bytes
    let at = this.#at
    let rest = value + 1
    while (rest >= GROUP) {
      bytes[at++] = (rest & (GROUP - 1)) | MORE
      rest >>>= 6
    }
    bytes[at++] = rest
    this.#at = at
  }

  /** For numbers that mostly have at most three decimals. To be read by {@link NumberReader.nextThousandths}. */
  addThousandths(value: number): void {
    const scaled = Math.round(value * THOUSAND)
    if (scaled >= 0 && scaled < SMALL_MAX && scaled / THOUSAND === value) this.add(scaled)
    else this.#addDouble(value)
  }

  text(): string {
    return this.#bytes.toString('latin1', 0, this.#at)
  }

  clear(): void {
    this.#at = 0
  }

  #addLarge(value: number): void {
    if (!(value >= 0 && value <= WHOLE_MAX && Number.isInteger(value))) return this.#addDouble(value)
    let rest = value + 1
    while (rest >= GROUP) {
      this.#bytes[this.#at++] = (rest % GROUP) + MORE
      rest = Math.floor(rest / GROUP)
    }
    this.#bytes[this.#at++] = rest
  }

  #addDouble(value: number): void {
    double[0] = value
    const bytes = this.#bytes
    let at = this.#at
    bytes[at++] = 0
    for (let half = 0; half < 2; half++) {
      let rest = halves[half]!
      for (let group = 0; group < 5; group++) {
        bytes[at++] = rest & 127
        rest >>>= 7
      }
    }
    this.#at = at
  }

  #grow(byBytes: number): void {
    const larger = Buffer.allocUnsafeSlow(2 * this.#bytes.length + byBytes)
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

export class NumberReader {
  readonly #text: string
  #at: number

  /** @param at Where the first number begins. */
  constructor(text: string, at: number) {
    this.#text = text
    this.#at = at
  }

  /** How many characters are left; below zero when more was read than there is. */
  get left(): number {
    return this.#text.length - this.#at
  }

  /** @throws RangeError: damaged. */
  next(): number {
    return this.#next(1)
  }

  /** @throws RangeError: damaged. */
  nextThousandths(): number {
    return this.#next(THOUSAND)
  }

  #next(scale: number): number {
    let code = this.#text.charCodeAt(this.#at++)
    if (code === 0) return this.#nextDouble()
    let value = 0
    let factor = 1
    // At the end of the text the code is NaN, and every condition false.
    while (code >= MORE) {
      value += (code - MORE) * factor
      factor *= GROUP
      if (factor > Number.MAX_SAFE_INTEGER) throw new RangeError('a number without an end')
      code = this.#text.charCodeAt(this.#at++)
    }
    return (value + code * factor - 1) / scale
  }

  #nextDouble(): number {
    for (let half = 0; half < 2; half++) {
      let value = 0
      for (let group = 0; group < 5; group++) value += this.#text.charCodeAt(this.#at++) * 2 ** (7 * group)
      halves[half] = value
    }
    return double[0]!
  }
}
