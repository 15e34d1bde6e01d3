/**
 * A collection of the store, held in memory and kept current by `watch`, for reads that must not wait.
 *
 * Owns: the copy. The store owns the truth: a write goes there first, and is in the copy when its promise resolves.
 *
 * Invariants:
 *   H1. The copy of a key never goes back to an older revision, in whatever order answers and watch events come.
 *   H2. A listener runs once per change of the copy, after the copy has changed, for changes of any process.
 */
import type { EntityChange, Store, StoredEntity } from '#store/store.ts'

/** Rows per read while loading: bounds what is in flight, and is one read for nearly everybody. */
const PAGE_ROWS = 1000

export type CollectionListener<Value> = (key: string, value: Value | undefined, before: Value | undefined) => void

export class CachedCollection<Value> {
  readonly #store: Store
  readonly #name: string
  readonly #copy = new Map<string, StoredEntity<Value>>()
  readonly #listeners = new Set<CollectionListener<Value>>()
  /** Keys whose deletion was seen while loading: a page read before it must not bring them back. */
  #deletedWhileLoading: Set<string> | undefined = new Set()
  #unwatch: () => void = () => {}

  private constructor(store: Store, name: string) {
    this.#store = store
    this.#name = name
  }

  /** Watches first and reads then, so that no change falls between. */
  static async open<Value>(store: Store, name: string): Promise<CachedCollection<Value>> {
    const collection = new CachedCollection<Value>(store, name)
    collection.#unwatch = store.watch(name, '', (change) => collection.#follow(change))
    await collection.#load()
    return collection
  }

  get(key: string): Value | undefined {
    return this.#copy.get(key)?.value
  }

  /** The store's revision of the copy; 0 when absent: what `ifRevision` of a compare-and-set wants. */
  revisionOf(key: string): number {
    return this.#copy.get(key)?.revision ?? 0
  }

  *entries(): IterableIterator<readonly [string, Value]> {
    for (const [key, stored] of this.#copy) yield [key, stored.value]
  }

  /** @throws CONFLICT, STORE_FULL, STORE_FAILED. */
  async put(key: string, value: Value, options?: { readonly ifRevision?: number }): Promise<void> {
    const revision = await this.#store.put(this.#name, key, value, options)
    this.#apply(key, { key, value, revision })
  }

  /** @throws CONFLICT, STORE_FULL, STORE_FAILED. */
  async delete(key: string, options?: { readonly ifRevision?: number }): Promise<void> {
    await this.#store.delete(this.#name, key, options)
    this.#apply(key, undefined)
  }

  /** Reads one key again from the store, after a CONFLICT. */
  async refresh(key: string): Promise<Value | undefined> {
    const stored = await this.#store.get<Value>(this.#name, key)
    this.#apply(key, stored)
    return stored?.value
  }

  onChange(listener: CollectionListener<Value>): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  close(): void {
    this.#unwatch()
    this.#listeners.clear()
  }

  async #load(): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list<Value>(this.#name, { limit: PAGE_ROWS, ...(after !== undefined && { after }) })
      for (const stored of page) if (!this.#deletedWhileLoading!.has(stored.key)) this.#apply(stored.key, stored)
      if (page.length < PAGE_ROWS) break
      after = page.at(-1)!.key
    }
    this.#deletedWhileLoading = undefined
  }

  #follow(change: EntityChange): void {
    if (change.entity === undefined) this.#deletedWhileLoading?.add(change.key)
    else this.#deletedWhileLoading?.delete(change.key)
    this.#apply(change.key, change.entity as StoredEntity<Value> | undefined)
  }

  #apply(key: string, stored: StoredEntity<Value> | undefined): void {
    const before = this.#copy.get(key)
    if (stored === undefined) {
      if (before === undefined) return
      this.#copy.delete(key)
    } else {
      if (before !== undefined && before.revision >= stored.revision) return
      this.#copy.set(key, stored)
    }
    for (const listener of this.#listeners) listener(key, stored?.value, before?.value)
  }
}
