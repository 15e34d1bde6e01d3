/**
 * The soak's books: what was asked and what was answered, written down outside of the platform, and held against what the
 * platform says of it afterwards.
 *
 * Invariants that are checked of the platform (L: the number of its deaths, 0 for one life):
 *   K1. Every invocation that was answered has one record, which says what the answer said. Only what was answered within
 *       {@link UNWRITTEN_MS} before a death may lack it.
 *   K2. Records of nothing that was answered are of callers who had gone, of calls between functions, or of the asynchronous.
 *   K3. Every accepted asynchronous invocation ended as its function does: with its result, or as a dead letter. It ran as
 *       often as it had to, and at most L times more; with no death, exactly so often.
 */
import type { PlatformErrorCode } from '#contract/errors.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'

/** A record waits 50 ms for its batch and 10 ms for the store; the rest is for a busy machine. */
export const UNWRITTEN_MS = 2_000
/** Further problems are counted only. */
const PROBLEMS_MAX = 40

export interface Answered {
  readonly function: string
  readonly status: number
  readonly code: PlatformErrorCode | undefined
  /** Number of the life that answered, from 1. */
  readonly life: number
  readonly atMs: number
  /** Calls of other functions that it made; undefined: unknown. */
  readonly calls: number | undefined
}

export interface Accepted {
  readonly function: string
  /** Attempt that succeeds; beyond the last one: none does. */
  readonly until: number
  readonly n: number
  readonly callback: 'none' | 'http' | 'function'
}

export class Books {
  readonly answered = new Map<string, Answered>()
  readonly accepted = new Map<string, Accepted>()
  /** Requests whose caller went away: they may have a record, or not. */
  abandoned = 0
  /** Requests that got no answer because the platform died. */
  lost = 0
  /** When the platform died, epoch ms. */
  readonly deathsMs: number[] = []
  readonly counts = new Map<string, number>()
  readonly problems: string[] = []
  #problemCount = 0

  problem(text: string): void {
    this.#problemCount++
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(text)
  }

  get problemCount(): number {
    return this.#problemCount
  }

  count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
  }

  /** K1 and K2, and of the asynchronous how often they ran (K3). @param records Of all invocations. */
  async checkRecords(records: AsyncIterable<InvocationRecord>, attemptsMax: number): Promise<RecordCounts> {
    const found = new Set<string>()
    const calls = new Map<string, number>()
    const attempts = new Map<string, InvocationRecord[]>()
    let total = 0
    let unasked = 0
    for await (const record of records) {
      total++
      if (record.parent !== undefined) calls.set(record.parent, (calls.get(record.parent) ?? 0) + 1)
      if (record.origin === 'call') continue
      if (record.origin === 'async') {
        attempts.set(record.id, [...(attempts.get(record.id) ?? []), record])
        continue
      }
      const answer = this.answered.get(record.id)
      if (answer === undefined) unasked++
      else if (found.has(record.id)) this.problem(`K1: invocation ${record.id} of ${record.function} has two records`)
      else this.#compare(record, answer)
      found.add(record.id)
    }
    // Those of callers who had gone before the head came have an id that nobody knows.
    if (unasked > this.abandoned + this.lost) this.problem(`K2: ${unasked} records of nothing that was answered, and only ${this.abandoned + this.lost} callers went away or lost the platform`)
    let unwritten = 0
    for (const [id, answer] of this.answered) {
      if (!found.has(id)) {
        if (answer.atMs > (this.deathsMs[answer.life - 1] ?? Infinity) - UNWRITTEN_MS) unwritten++
        else this.problem(`K1: invocation ${id} of ${answer.function} was answered with ${answer.status} and has no record`)
      } else if (answer.calls !== undefined && answer.calls !== (calls.get(id) ?? 0) && this.deathsMs.length === 0) {
        this.problem(`K1: invocation ${id} of ${answer.function} made ${answer.calls} calls, ${calls.get(id) ?? 0} have a record`)
      }
    }
    for (const [id, { until, function: name }] of this.accepted) this.#checkAttempts(id, name, until, attempts.get(id) ?? [], attemptsMax)
    return { total, unasked, unwritten }
  }

  #compare(record: InvocationRecord, answer: Answered): void {
    const said = `${record.outcome} ${record.status} ${record.error?.code ?? ''}`
    const expected = `${answer.code === undefined ? 'ok' : 'error'} ${answer.status} ${answer.code ?? ''}`
    if (said !== expected) this.problem(`K1: invocation ${record.id} of ${record.function}: the answer was "${expected}", its record says "${said}"`)
    if (record.function !== answer.function) this.problem(`K1: invocation ${record.id} was of ${answer.function}, its record is of ${record.function}`)
  }

  #checkAttempts(id: string, name: string, until: number, records: readonly InvocationRecord[], attemptsMax: number): void {
    const succeeds = until <= attemptsMax
    const needed = succeeds ? until : attemptsMax
    const deaths = this.deathsMs.length
    const numbers = records.map((record) => record.attempt).sort((a, b) => a - b)
    const said = records.map((record) => `${record.attempt} ${record.error?.code ?? 'ok'}`).join(', ')
    // A death may cost the record of an attempt, and bring one more.
    const isRight = deaths === 0 ? numbers.join() === Array.from({ length: needed }, (_, index) => index + 1).join() : numbers.length <= needed + deaths && (numbers.at(-1) ?? 0) <= needed + deaths
    if (!isRight) this.problem(`K3: ${name} ${id} was to succeed on attempt ${until} and ran on: ${said || 'none'} (${deaths} deaths)`)
    const successes = records.filter((record) => record.error === undefined).length
    if (successes > (succeeds || deaths > 0 ? 1 + deaths : 0)) this.problem(`K3: ${name} ${id} succeeded ${successes} times (${deaths} deaths)`)
  }
}

export interface RecordCounts {
  readonly total: number
  /** Of nothing that was answered. */
  readonly unasked: number
  /** Answered so shortly before a death that the record was not written yet. */
  readonly unwritten: number
}
