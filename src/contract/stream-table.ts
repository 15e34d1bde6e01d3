/**
 * The open streams of a channel by their number: a ring, because a Map is the wrong thing to put every invocation into.
 *
 * A Map that entries come to and leave at a high rate is rebuilt all the time, and each table that V8 gives up points to its
 * successor and still holds what was in it. Once one of them has reached the old generation, it keeps all later ones, and
 * with them every invocation, alive until the next full collection: measured here, 3.5 KB per invocation survived, and a
 * third of the gateway's CPU went into moving them. A ring's slot is simply emptied.
 *
 * Invariants:
 *   R1. A number is not given out again before all larger ones of its parity have been, so that a late frame of an ended
 *       stream is never taken for a frame of a new one.
 */
export class StreamTable<Stream extends { readonly id: number }> {
  #slots: (Stream | undefined)[]
  #mask: number
  #next: number
  #size = 0

  /** @param first The first number: even (2 or above) or odd ones. Numbers grow by 2. */
  constructor(first: number, capacity = 64) {
    this.#next = first
    this.#slots = new Array<Stream | undefined>(capacity).fill(undefined)
    this.#mask = capacity - 1
  }

  get size(): number {
    return this.#size
  }

  /** A number whose slot is free; `add` its stream before asking for another. */
  nextNumber(): number {
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    let number = this.#next
    while (this.#slots[(number >>> 1) & this.#mask] !== undefined) number = following(number)
    this.#next = following(number)
    return number
  }

  /** @param stream With an id of {@link nextNumber}. */
  add(stream: Stream): void {
    this.#slots[(stream.id >>> 1) & this.#mask] = stream
    this.#size++
  }

  get(id: number): Stream | undefined {
    const stream = this.#slots[(id >>> 1) & this.#mask]
    return stream?.id === id ? stream : undefined
  }

  delete(stream: Stream): void {
    if (this.get(stream.id) === undefined) return
    this.#slots[(stream.id >>> 1) & this.#mask] = undefined
    this.#size--
  }

  /** In no particular order. Streams may be deleted on the way. */
  *values(): IterableIterator<Stream> {
    for (const stream of this.#slots) if (stream !== undefined) yield stream
  }

  clear(): void {
    this.#slots.fill(undefined)
    this.#size = 0
  }

  /** Streams that were in different slots still are: the larger mask only tells more of them apart. */
  #grow(): void {
    const old = this.#slots
    this.#slots = new Array<Stream | undefined>(old.length * 2).fill(undefined)
    this.#mask = this.#slots.length - 1
    for (const stream of old) if (stream !== undefined) this.#slots[(stream.id >>> 1) & this.#mask] = stream
  }
}

/** Stream numbers are u32 on the wire; after the last comes the first again. */
function following(number: number): number {
  return number + 2 > 0xffff_ffff ? ((number & 1) === 0 ? 2 : 1) : number + 2
}
