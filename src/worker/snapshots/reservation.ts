/**
 * Room on the disk that something takes while it is being written, before anybody knows how large it gets.
 *
 * Invariants:
 *   V1. After `settle(0)` nothing is taken: it stands in a `finally`.
 */
import type { PageChunk } from '#pager/zero-pages.ts'

export class Reservation {
  readonly #total: { bytes: number }
  readonly #check: (bytes: number) => void
  #bytes = 0

  /** @param total Of all reservations, in bytes. @param check Throws STORE_FULL when there is no room for so many bytes more. */
  constructor(total: { bytes: number }, check: (bytes: number) => void) {
    this.#total = total
    this.#check = check
  }

  /** @throws what `check` throws; nothing is taken then. */
  add(bytes: number): void {
    this.#check(bytes)
    this.settle(this.#bytes + bytes)
  }

  /** What is taken in all, from now on: the true size, or nothing. Never refused. */
  settle(bytes: number): void {
    this.#total.bytes += bytes - this.#bytes
    this.#bytes = bytes
  }

  /** The same chunks, each counted before it is passed on. */
  async *counting(chunks: AsyncIterable<PageChunk> | Iterable<PageChunk>): AsyncGenerator<PageChunk> {
    for await (const chunk of chunks) {
      this.add(chunk.bytes.byteLength)
      yield chunk
    }
  }
}
