/**
 * Bytes that come in pieces, kept up to a bound: heads that are cut by a packet's end, and bodies.
 *
 * Pieces come in a buffer that the next read overwrites, so they are copied. Room doubles, so that a large body is not copied once per piece, and
 * follows what has come, so that nobody makes us reserve what he only announced.
 */

export class GrowingBytes {
  #room: Buffer | undefined
  length = 0

  /** Appends what there is room for below `max`, and leaves the rest. */
  append(from: Buffer, start: number, end: number, max: number): void {
    const count = Math.min(end - start, max - this.length)
    if (count <= 0) return
    const needed = this.length + count
    if (this.#room === undefined || this.#room.length < needed) {
      const larger = Buffer.allocUnsafeSlow(this.#room === undefined ? needed : Math.max(needed, 2 * this.#room.length))
      this.#room?.copy(larger, 0, 0, this.length)
      this.#room = larger
    }
    from.copy(this.#room, this.length, start, start + count)
    this.length = needed
  }

  /** What is kept, without a copy; valid until `clear`. */
  view(): Buffer {
    return this.#room === undefined ? EMPTY : this.#room.subarray(0, this.length)
  }

  /** Gives the room away: `view` of before stays as it is. */
  clear(): void {
    this.#room = undefined
    this.length = 0
  }
}

const EMPTY = Buffer.alloc(0)
