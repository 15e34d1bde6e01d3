/**
 * Which journals there are, how large they are, and what of them is too old or too much.
 *
 * A store neither lists its journals nor tells their size, and need not: whoever appends knows. Names are kept as
 * entities, sizes as bytes per hour over all journals of a kind; trimming to a size then means finding the hour up to
 * which everything fits. A crash forgets the bytes noted since the last round, which makes a size a little too small.
 *
 * Invariants:
 *   N1. A journal that was noted is trimmed after a restart too.
 *   N2. What is kept is at most `daysMax` old; and of at most `bytesMax` bytes, counted in whole hours, the present one always kept.
 */
import type { Clock, Timer } from '#base/clock.ts'
import { silentLog } from '#base/log.ts'
import type { Log } from '#base/log.ts'
import type { Store } from '#store/store.ts'

/** What telemetry needs of the store. */
export type JournalStore = Pick<Store, 'append' | 'read' | 'trim' | 'get' | 'put' | 'list' | 'delete'>

export interface RetentionConfig {
  /** Days that entries are kept. Raising it costs disk. */
  readonly daysMax: number
  /** Bytes that all journals of the kind may have together. Raising it costs disk. */
  readonly bytesMax: number
}

const HOUR_MS = 3_600_000
const ROUND_MS = 600_000

export class JournalRetention {
  readonly #store: JournalStore
  readonly #clock: Clock
  readonly #kind: string
  readonly #config: RetentionConfig
  readonly #log: Log
  /** Journals, and whether the store knows of them. */
  readonly #journals = new Map<string, 'noted' | 'stored'>()
  /** Bytes by hour, and the hours that the store has not seen since they changed. */
  readonly #bytes = new Map<number, number>()
  readonly #changed = new Set<number>()
  #timer: Timer | undefined
  #stopped = false

  /** @param kind Names the entities: `records` or `logs`. */
  constructor(options: { readonly store: JournalStore; readonly clock: Clock; readonly kind: string; readonly config: RetentionConfig; readonly log?: Log }) {
    this.#store = options.store
    this.#clock = options.clock
    this.#kind = options.kind
    this.#config = options.config
    this.#log = options.log ?? silentLog
  }

  /** Reads what earlier processes noted, and begins the rounds. */
  async start(): Promise<void> {
    for (const { key } of await this.#store.list(`telemetry-${this.#kind}-journals`)) this.#journals.set(key, 'stored')
    for (const { key, value } of await this.#store.list<number>(`telemetry-${this.#kind}-bytes`)) this.#bytes.set(Number(key), (this.#bytes.get(Number(key)) ?? 0) + value)
    this.#arm()
  }

  /** These bytes were appended to this journal. */
  note(journal: string, bytes: number): void {
    if (!this.#journals.has(journal)) {
      this.#journals.set(journal, 'noted')
      this.#storeJournal(journal).catch((error: unknown) => this.#log.warn('could not note a journal; the next round tries again', { journal, error }))
    }
    const hour = Math.floor(this.#clock.epochMs() / HOUR_MS)
    this.#bytes.set(hour, (this.#bytes.get(hour) ?? 0) + bytes)
    this.#changed.add(hour)
  }

  /** Names of all journals, those of earlier processes too. */
  journals(): readonly string[] {
    return [...this.#journals.keys()]
  }

  /** Deletes what is too old or too much. @returns journal rows deleted. */
  async round(): Promise<number> {
    for (const [journal, state] of this.#journals) if (state === 'noted') await this.#storeJournal(journal)
    const beforeMs = this.#keptFromMs()
    let deleted = 0
    for (const journal of this.#journals.keys()) deleted += await this.#store.trim(journal, beforeMs)
    await this.#storeBytes(beforeMs)
    return deleted
  }

  /** Ends the rounds. Never rejects: what can't be noted now only makes a size a little too small. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#storeBytes(0).catch((error: unknown) => this.#log.warn('could not note the size of journals', { kind: this.#kind, error }))
  }

  #keptFromMs(): number {
    const nowMs = this.#clock.epochMs()
    const byAgeMs = nowMs - this.#config.daysMax * 24 * HOUR_MS
    let total = 0
    for (const hour of [...this.#bytes.keys()].sort((a, b) => b - a)) {
      total += this.#bytes.get(hour)!
      if (total > this.#config.bytesMax) return Math.max(byAgeMs, Math.min((hour + 1) * HOUR_MS, Math.floor(nowMs / HOUR_MS) * HOUR_MS))
    }
    return byAgeMs
  }

  async #storeJournal(journal: string): Promise<void> {
    await this.#store.put(`telemetry-${this.#kind}-journals`, journal, true)
    this.#journals.set(journal, 'stored')
  }

  async #storeBytes(beforeMs: number): Promise<void> {
    for (const hour of this.#changed) {
      this.#changed.delete(hour)
      await this.#store.put(`telemetry-${this.#kind}-bytes`, String(hour), this.#bytes.get(hour) ?? 0)
    }
    for (const hour of [...this.#bytes.keys()].filter((known) => (known + 1) * HOUR_MS <= beforeMs)) {
      this.#bytes.delete(hour)
      await this.#store.delete(`telemetry-${this.#kind}-bytes`, String(hour))
    }
  }

  #arm(): void {
    if (this.#stopped) return
    this.#timer = this.#clock.after(ROUND_MS, () => {
      this.round()
        .catch((error: unknown) => this.#log.warn('could not trim journals; the next round tries again', { kind: this.#kind, error }))
        .finally(() => this.#arm())
    })
  }
}
