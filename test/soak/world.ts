/**
 * What the soak's callers share: the platform as it lives now, the books, and the way to ask something and write down what
 * came of it.
 *
 *   life 1 ──kill -9──▶ (no platform) ──start──▶ life 2 …        `current` waits between lives
 *
 * Everything random comes from one seed, by one source of numbers per caller; what the machine does in between is not
 * repeated by it, so that a seed gives the same questions and not the same run.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { isPlatformErrorCode, platformErrors } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { seededRandom } from '#base/seeded-random.ts'
import type { Answer } from '../kit/http.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { Books } from './books.ts'

export interface Life {
  /** From 1. */
  readonly number: number
  readonly platform: TestPlatform
  /** Of performance.now. */
  readonly startedMs: number
  /** It was killed, or is about to be: what breaks off now is not its fault. */
  isOver: boolean
}

export type Random = () => number

export interface Caller {
  readonly name: string
  /** How many of them. */
  readonly count: number
  /** Most ms between two of its acts; half of it on average. */
  readonly thinkMs: number
  act(life: Life, random: Random): Promise<void>
}

/** What may come of an invocation. */
export interface Expected {
  readonly function: string
  /** Errors of the platform that are right answers. */
  readonly codes?: readonly PlatformErrorCode[]
  /** Whether an answer of the function is right. Absent: none is. */
  readonly isRight?: (answer: Answer) => boolean
  readonly calls?: number
}

/** The platform died under the request. */
export class LostPlatform extends Error {}

export function lifeOf(platform: TestPlatform, number = 1): Life {
  return { number, platform, startedMs: performance.now(), isOver: false }
}

export class World {
  readonly books = new Books()
  readonly witness: string
  #life: Promise<Life>
  #isOver = false
  readonly #seed: number

  constructor(options: { readonly seed: number; readonly life: Life; readonly witness: string }) {
    this.#seed = options.seed
    this.#life = Promise.resolve(options.life)
    this.witness = options.witness
  }

  /** The platform that lives; waits for the next one while there is none. */
  current(): Promise<Life> {
    return this.#life
  }

  /** From now on there is none, until `next` has resolved. */
  async follow(next: Promise<Life>): Promise<Life> {
    this.#life = next
    return next
  }

  /** Sends callers to work, until `untilMs` (of performance.now). Resolves when the last has its answer. */
  async work(callers: readonly Caller[], untilMs: number): Promise<void> {
    this.#isOver = false
    const all: Promise<void>[] = []
    for (const caller of callers) {
      for (let index = 0; index < caller.count; index++) all.push(this.#callAgain(caller, seededRandom(hash(`${this.#seed} ${caller.name} ${index}`)), untilMs))
    }
    await Promise.all(all)
  }

  /** Ends the work early: nothing new is begun. */
  stop(): void {
    this.#isOver = true
  }

  async #callAgain(caller: Caller, random: Random, untilMs: number): Promise<void> {
    while (!this.#isOver && performance.now() < untilMs) {
      const life = await this.current()
      try {
        await caller.act(life, random)
        this.books.count(caller.name)
      } catch (thrown) {
        if (thrown instanceof LostPlatform || life.isOver) this.books.count(`${caller.name}, platform lost`)
        else this.books.problem(`${caller.name}: ${thrown instanceof Error ? thrown.stack : String(thrown)}`)
      }
      await pause(random() * caller.thinkMs)
    }
  }

  /** Waits for an answer, judges it, and writes it down. @throws LostPlatform. */
  async ask(life: Life, expected: Expected, request: () => Promise<Answer>): Promise<Answer> {
    const answer = await this.reach(life, request)
    const code = this.judge(life, answer, expected)
    if (answer.id !== '') this.books.answered.set(answer.id, { function: expected.function, status: answer.status, code, life: life.number, atMs: Date.now(), calls: code === undefined ? (expected.calls ?? 0) : undefined })
    return answer
  }

  /** Waits for an answer; one that does not come is the platform's fault while it lives. @throws LostPlatform. */
  async reach<Value>(life: Life, request: () => Promise<Value>): Promise<Value> {
    try {
      return await request()
    } catch (thrown) {
      if (!life.isOver) throw thrown
      this.books.lost++
      throw new LostPlatform('the platform was killed', { cause: thrown })
    }
  }

  /** @returns the code of an error of the platform. */
  judge(life: Life, answer: Answer, expected: Expected): PlatformErrorCode | undefined {
    const code = answer.headers['x-skep-error']
    const what = `${Math.round(performance.now() - life.startedMs)} ms into life ${life.number}, ${expected.function} (${answer.id}) answered ${answer.status} ${answer.text.slice(0, 300)}`
    if (code === undefined) {
      if (expected.isRight?.(answer) !== true) this.books.problem(`wrong answer: ${what}`)
      return undefined
    }
    if (typeof code !== 'string' || !isPlatformErrorCode(code)) {
      this.books.problem(`no typed error: ${what}`)
      return undefined
    }
    this.books.count(`error ${code} of ${expected.function}`)
    if (expected.codes?.includes(code) !== true) this.books.problem(`unexpected error: ${what}`)
    if (answer.status !== platformErrors[code].status) this.books.problem(`status of ${code}: ${what}`)
    return code
  }
}

/** FNV-1a: a seed of its own for each caller. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  return value >>> 0
}

export function whole(random: Random, max: number): number {
  return Math.floor(random() * max)
}

export function oneOf<Item>(random: Random, items: readonly Item[]): Item {
  return items[whole(random, items.length)]!
}
