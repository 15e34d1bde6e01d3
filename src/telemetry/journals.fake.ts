/** Journals and entities in memory, for unit tests: exactly what telemetry asks of a store, in its promised order. */
import type { JournalStore } from './journal-retention.ts'
import type { JournalQuery, JournalRow, StoredEntity } from '#store/store.ts'

export class FakeJournals implements JournalStore {
  readonly journals = new Map<string, JournalRow[]>()
  readonly entities = new Map<string, unknown>()
  /** Set to make appends and puts fail. */
  failure: Error | undefined
  rowsRead = 0

  append(journal: string, rows: readonly JournalRow[]): void {
    if (this.failure !== undefined) throw this.failure
    const known = this.journals.get(journal) ?? []
    known.push(...rows)
    this.journals.set(journal, known.sort((a, b) => a.atMs - b.atMs))
  }

  async *read(journal: string, query: JournalQuery): AsyncIterable<JournalRow> {
    const rows = (this.journals.get(journal) ?? []).filter((row) => row.atMs >= (query.fromMs ?? -Infinity) && row.atMs < (query.untilMs ?? Infinity))
    for (const row of query.order === 'newest-first' ? rows.reverse() : rows) {
      this.rowsRead++
      yield row
    }
  }

  async trim(journal: string, beforeMs: number): Promise<number> {
    const rows = this.journals.get(journal) ?? []
    const kept = rows.filter((row) => row.atMs >= beforeMs)
    this.journals.set(journal, kept)
    return rows.length - kept.length
  }

  async get<Value>(collection: string, key: string): Promise<StoredEntity<Value> | undefined> {
    const value = this.entities.get(`${collection}\0${key}`)
    return value === undefined ? undefined : { key, value: value as Value, revision: 1 }
  }

  async put(collection: string, key: string, value: unknown): Promise<number> {
    if (this.failure !== undefined) throw this.failure
    this.entities.set(`${collection}\0${key}`, value)
    return 1
  }

  async delete(collection: string, key: string): Promise<void> {
    this.entities.delete(`${collection}\0${key}`)
  }

  async list<Value>(collection: string): Promise<StoredEntity<Value>[]> {
    const prefix = `${collection}\0`
    return [...this.entities].filter(([key]) => key.startsWith(prefix)).map(([key, value]) => ({ key: key.slice(prefix.length), value: value as Value, revision: 1 }))
  }
}
