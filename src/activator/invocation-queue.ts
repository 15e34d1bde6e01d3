/**
 * Invocations in the order of their arrival, for one revision.
 *
 * A ring that grows, because an array's `shift` moves everything behind it: 10,000 waiting invocations are the moment
 * when that must not happen. Cancelled invocations stay in place and are passed over, so that cancelling costs nothing;
 * when they are most of what is held, they are swept out, so that who sends and cancels does not fill the memory.
 */
import type { Invocation } from '#contract/invocation.ts'

/** Below this many it is not worth sweeping. */
const SWEPT_MIN = 64

export class InvocationQueue {
  #ring: (Invocation | undefined)[] = new Array<Invocation | undefined>(16).fill(undefined)
  #head = 0
  #slots = 0
  #length = 0

  /** Those that still wait. */
  get length(): number {
    return this.#length
  }

  push(invocation: Invocation): void {
    if (this.#slots === this.#ring.length) this.#grow()
    this.#ring[(this.#head + this.#slots) & (this.#ring.length - 1)] = invocation
    this.#slots++
    this.#length++
  }

  /** The oldest that still waits. */
  peek(): Invocation | undefined {
    while (this.#slots > 0) {
      const invocation = this.#ring[this.#head]!
      if (invocation.state === 'queued') return invocation
      this.#drop()
    }
    return undefined
  }

  shift(): Invocation | undefined {
    const invocation = this.peek()
    if (invocation === undefined) return undefined
    this.#drop()
    this.#length--
    return invocation
  }

  /** Those that still wait and are so, oldest first. They stay: whoever ends one says {@link forgot}. */
  waiting(isSo: (invocation: Invocation) => boolean): Invocation[] {
    const found: Invocation[] = []
    for (let index = 0; index < this.#slots; index++) {
      const invocation = this.#ring[(this.#head + index) & (this.#ring.length - 1)]!
      if (invocation.state === 'queued' && isSo(invocation)) found.push(invocation)
    }
    return found
  }

  /** One that was queued here ends elsewhere now (cancelled, timed out). */
  forgot(): void {
    this.#length--
    if (this.#slots >= SWEPT_MIN && this.#slots > 2 * this.#length) this.#sweep()
  }

  #drop(): void {
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#slots--
  }

  /** Each sweep halves what is held, so it costs a constant for each one cancelled. */
  #sweep(): void {
    const mask = this.#ring.length - 1
    let kept = 0
    for (let index = 0; index < this.#slots; index++) {
      const at = (this.#head + index) & mask
      const invocation = this.#ring[at]!
      this.#ring[at] = undefined
      if (invocation.state === 'queued') this.#ring[(this.#head + kept++) & mask] = invocation
    }
    this.#slots = kept
  }

  #grow(): void {
    const ring = new Array<Invocation | undefined>(this.#ring.length * 2).fill(undefined)
    for (let index = 0; index < this.#slots; index++) ring[index] = this.#ring[(this.#head + index) & (this.#ring.length - 1)]
    this.#ring = ring
    this.#head = 0
  }
}
