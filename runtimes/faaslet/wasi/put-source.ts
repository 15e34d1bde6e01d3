/**
 * An object that a function puts piece by piece: each write waits until its bytes have left, so that nothing is held.
 *
 * Invariants:
 *   PS1. One piece at most is here. After `return`, the receiver's word that it wants no more, every write gives false.
 */
export class PutSource implements AsyncIterator<Uint8Array> {
  #piece: Uint8Array | undefined
  #state: 'open' | 'ended' | 'closed' = 'open'
  #onPiece: (() => void) | undefined
  #onTaken: (() => void) | undefined

  /** Resolves when the piece was taken and the next is asked for, to true; or to false. One at a time. */
  async write(piece: Uint8Array): Promise<boolean> {
    if (this.#state !== 'open') return false
    this.#piece = piece
    const taken = new Promise<void>((resolve) => (this.#onTaken = resolve))
    this.#onPiece?.()
    await taken
    return this.#state === 'open'
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended'
    this.#onPiece?.()
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    // The one before has left by now.
    this.#onTaken?.()
    this.#onTaken = undefined
    while (this.#piece === undefined && this.#state === 'open') await new Promise<void>((resolve) => (this.#onPiece = resolve))
    const value = this.#piece
    this.#piece = undefined
    return value === undefined ? { done: true, value: undefined } : { done: false, value }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#state = 'closed'
    this.#piece = undefined
    this.#onTaken?.()
    this.#onPiece?.()
    return { done: true, value: undefined }
  }
}
