/**
 * One faaslet of a revision that answers its first invocations one after the other, until its memory becomes the revision's image
 * (config `snapshotAfter`): what a function makes at its first calls and keeps, a table or a cache, is then there in every new one.
 *
 *   wanted ──a faaslet is made──▶ busy ──answered──▶ free ──next one──▶ busy ─ … ─▶ resting ─▶ ripe ──captured, or another is the image──▶ done
 *      ▲                            │
 *      └─ failed, or left a call ───┘ more than TRIES_MAX times: done
 *
 * An invocation that finds it busy gets a faaslet of its own, as always.
 *
 * Source: thesis 4.2 and 5.2.1 take the snapshot once, after initialisation; more of the state is stable after some invocations.
 *
 * Invariants:
 *   RP1. What is captured has answered at least as many invocations as it was to, none failed, and nothing of any was cut off at its end.
 *   RP2. The memory of a ripe faaslet is not touched until it was captured, and given back then: whoever takes it disposes it.
 *   RP3. No object was ever mapped into it: an image would keep its bytes beyond the object's own end.
 */
import { PlatformError } from '../../src/contract/errors.ts'
import { TemplateSource } from './faaslet-source.ts'
import { capture } from './faaslets.ts'
import type { Faaslet, Guest } from './guest.ts'

const TRIES_MAX = 10

/** A faaslet between two invocations, and what gives its memory back. */
export interface Resting {
  readonly faaslet: Faaslet
  letGo(): void
}

/** What a capture reads. */
export interface Ripe extends Disposable {
  readonly template: TemplateSource
}

type State<Kept extends Resting> =
  | { readonly kind: 'wanted' | 'busy' | 'done' }
  | { readonly kind: 'free' | 'resting'; readonly kept: Kept }
  | { readonly kind: 'ripe'; readonly kept: Kept; readonly template: TemplateSource }

export interface RipeningOptions {
  /** Config `snapshotAfter`. */
  readonly after: number
  readonly initTimeoutMs: number
  /** One is ripe, or why none will be. */
  readonly tell: (why?: string) => void
}

export class Ripening<Kept extends Resting> {
  readonly #options: RipeningOptions
  #state: State<Kept> = { kind: 'wanted' }
  #answered = 0
  #tries = 0

  constructor(options: RipeningOptions) {
    this.#options = options
  }

  /** Whether the faaslet that is being made is to be this one: `ended` has to follow. */
  begin(): boolean {
    if (this.#state.kind !== 'wanted') return false
    this.#state = { kind: 'busy' }
    this.#answered = 0
    return true
  }

  /** The faaslet, for the next invocation, if it is free: `ended` has to follow. */
  next(): Kept | undefined {
    if (this.#state.kind !== 'free') return undefined
    const { kept } = this.#state
    this.#state = { kind: 'busy' }
    return kept
  }

  /** @param kept Undefined when it, or its invocation, has failed. @returns whether it stays here; otherwise it is its owner's again. */
  ended(guest: Guest, kept: Kept | undefined): boolean {
    if (this.#state.kind !== 'busy') return false
    const problem = kept === undefined ? 'an invocation failed' : kept.faaslet.mapped !== undefined ? 'a body was mapped into its memory' : guest.cutOff?.(kept.faaslet)
    if (kept === undefined || problem !== undefined) {
      this.#state = { kind: 'wanted' }
      if (++this.#tries >= TRIES_MAX) this.#giveUp(`each of ${TRIES_MAX} instances had an invocation after which it could not be the one, the last one: ${problem}`)
      return false
    }
    if (++this.#answered < this.#options.after) this.#state = { kind: 'free', kept }
    else {
      this.#state = { kind: 'resting', kept }
      // Behind the answer, and out of the promise's reaction, in which no faaslet may be entered.
      setImmediate(() => this.#rest(guest, kept))
    }
    return true
  }

  /** The revision's image is another one from now on. @param answered By the instance of which it was taken. */
  imageIs(answered: number): void {
    if (answered >= this.#options.after) this.close()
    // The platform was busy with this one when it was told.
    else if (this.#state.kind === 'ripe') this.#options.tell()
  }

  /** What is to be captured, once. */
  take(): Ripe | undefined {
    if (this.#state.kind !== 'ripe') return undefined
    const { kept, template } = this.#state
    this.#state = { kind: 'done' }
    return { template, [Symbol.dispose]: () => kept.letGo() }
  }

  close(): void {
    const state = this.#state
    this.#state = { kind: 'done' }
    if ('kept' in state) state.kept.letGo()
  }

  #rest(guest: Guest, kept: Kept): void {
    if (this.#state.kind !== 'resting') return
    try {
      kept.faaslet.bootDeadlineMs = performance.now() + this.#options.initTimeoutMs
      guest.rest?.(kept.faaslet)
      const captured = capture(guest, kept.faaslet)
      if (captured.kind === 'problem') return this.#giveUp(captured.reason)
      this.#state = { kind: 'ripe', kept, template: new TemplateSource(captured.memory, captured.state) }
      this.#options.tell()
    } catch (thrown) {
      this.#giveUp(PlatformError.from(thrown).message)
    }
  }

  #giveUp(why: string): void {
    this.close()
    this.#options.tell(why)
  }
}
