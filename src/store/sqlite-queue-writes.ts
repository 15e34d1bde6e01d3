/**
 * The queue operations of the writer thread, each inside a transaction that its caller holds.
 *
 *            enqueue          claim (attempt + 1)       complete
 *   (new) ─────────▶ waiting ────────────────▶ claimed ──────────▶ remembered id
 *                       ▲ ▲                     │  │ │
 *                       │ └──── retry ──────────┘  │ └─ lease over: may be claimed again
 *                       └────── redrive ── dead ◀──┘ bury
 *
 * Invariants:
 *   Q1. An id stands at most once in items, dead letters and remembered ids of a queue together.
 *   Q2. An item is claimed only when its `ready_ms` has come, and the claim moves that to the end of the lease.
 *   Q3. Remembering completed ids takes a bounded number of rows: the oldest go, a few with every completion.
 */
import type { ClaimedItem, QueueItem } from './store.ts'
import type { QueueDepth } from './sqlite-protocol.ts'
import type { SqliteNames, SqliteStatements } from './sqlite-statements.ts'

export interface QueueMemory {
  readonly rememberMs: number
  readonly rememberMax: number
}

interface Counts {
  waiting: number
  claimed: number
  dead: number
}

export class SqliteQueueWrites {
  readonly #sql: SqliteStatements
  readonly #names: SqliteNames
  readonly #memory: QueueMemory
  /** Of the queues somebody asked for: counting a long queue anew each time would hold up the commits. */
  readonly #counts = new Map<string, Counts>()

  constructor(parts: { readonly statements: SqliteStatements; readonly names: SqliteNames; readonly memory: QueueMemory }) {
    this.#sql = parts.statements
    this.#names = parts.names
    this.#memory = parts.memory
  }

  enqueue(queue: string, items: readonly QueueItem[], nowMs: number): void {
    const number = this.#names.findOrAdd(queue)
    const insert = this.#sql.of(`
      INSERT INTO queue_items (queue, id, ready_ms, claimed, attempt, due_ms, enqueued_ms, payload)
      SELECT ?, ?, ?, 0, 0, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM queue_done WHERE queue = ? AND id = ?)
        AND NOT EXISTS (SELECT 1 FROM queue_dead WHERE queue = ? AND id = ?)
      ON CONFLICT DO NOTHING`)
    let added = 0
    for (const { id, payload, dueAtMs } of items) {
      added += Number(insert.run(number, id, dueAtMs, dueAtMs, nowMs, payload, number, id, number, id).changes)
    }
    this.#count(queue, { waiting: added })
  }

  claim(queue: string, options: { readonly limit: number; readonly leaseMs: number; readonly nowMs: number }): ClaimedItem[] {
    const number = this.#names.find(queue)
    if (number === undefined) return []
    const rows = this.#sql
      .of('SELECT number, id, attempt, claimed, due_ms, enqueued_ms, payload FROM queue_items WHERE queue = ? AND ready_ms <= ? ORDER BY ready_ms LIMIT ?')
      .all(number, options.nowMs, options.limit)
    const update = this.#sql.of('UPDATE queue_items SET ready_ms = ?, claimed = 1, attempt = attempt + 1 WHERE number = ?')
    let fresh = 0
    const items = rows.map((row) => {
      update.run(options.nowMs + options.leaseMs, row['number']!)
      if (row['claimed'] === 0) fresh += 1
      return claimedItem(row, 1)
    })
    this.#count(queue, { waiting: -fresh, claimed: fresh })
    return items
  }

  /** A lease that is over is not held any more, even when nobody has claimed the item again yet. */
  renew(queue: string, ids: readonly string[], options: { readonly leaseMs: number; readonly nowMs: number }): void {
    const number = this.#names.find(queue)
    if (number === undefined) return
    const update = this.#sql.of('UPDATE queue_items SET ready_ms = ? WHERE queue = ? AND id = ? AND claimed = 1 AND ready_ms > ?')
    for (const id of ids) update.run(options.nowMs + options.leaseMs, number, id, options.nowMs)
  }

  complete(queue: string, ids: readonly string[], nowMs: number): void {
    const number = this.#names.find(queue)
    if (number === undefined) return
    const remove = this.#sql.of('DELETE FROM queue_items WHERE queue = ? AND id = ? RETURNING claimed')
    const remember = this.#sql.of('INSERT INTO queue_done (queue, id, done_ms) VALUES (?, ?, ?)')
    let waiting = 0
    let claimed = 0
    for (const id of ids) {
      const row = remove.get(number, id)
      if (row === undefined) continue
      if (row['claimed'] === 1) claimed += 1
      else waiting += 1
      remember.run(number, id, nowMs)
    }
    this.#forgetOldest(waiting + claimed, nowMs)
    this.#count(queue, { waiting: -waiting, claimed: -claimed })
  }

  /** Not found means completed or buried by somebody else meanwhile: nothing to do. */
  retry(queue: string, id: string, dueAtMs: number): void {
    const number = this.#names.find(queue)
    if (number === undefined) return
    const before = this.#sql.of('SELECT number, claimed FROM queue_items WHERE queue = ? AND id = ?').get(number, id)
    if (before === undefined) return
    this.#sql.of('UPDATE queue_items SET ready_ms = ?, due_ms = ?, claimed = 0 WHERE number = ?').run(dueAtMs, dueAtMs, before['number']!)
    if (before['claimed'] === 1) this.#count(queue, { waiting: 1, claimed: -1 })
  }

  bury(queue: string, id: string, reason: string, nowMs: number): void {
    const number = this.#names.find(queue)
    if (number === undefined) return
    const row = this.#sql
      .of('DELETE FROM queue_items WHERE queue = ? AND id = ? RETURNING attempt, claimed, due_ms, enqueued_ms, payload')
      .get(number, id)
    if (row === undefined) return
    this.#sql
      .of('INSERT INTO queue_dead (queue, id, attempt, due_ms, enqueued_ms, buried_ms, reason, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)')
      .run(number, id, row['attempt']!, row['due_ms']!, row['enqueued_ms']!, nowMs, reason, row['payload']!)
    this.#count(queue, row['claimed'] === 1 ? { claimed: -1, dead: 1 } : { waiting: -1, dead: 1 })
  }

  redrive(queue: string, ids: readonly string[], dueAtMs: number): number {
    const number = this.#names.find(queue)
    if (number === undefined) return 0
    const remove = this.#sql.of('DELETE FROM queue_dead WHERE queue = ? AND id = ? RETURNING enqueued_ms, payload')
    const insert = this.#sql.of(
      'INSERT INTO queue_items (queue, id, ready_ms, claimed, attempt, due_ms, enqueued_ms, payload) VALUES (?, ?, ?, 0, 0, ?, ?, ?)',
    )
    let redriven = 0
    for (const id of ids) {
      const row = remove.get(number, id)
      if (row === undefined) continue
      insert.run(number, id, dueAtMs, dueAtMs, row['enqueued_ms']!, row['payload']!)
      redriven += 1
    }
    this.#count(queue, { waiting: redriven, dead: -redriven })
    return redriven
  }

  depth(queue: string): QueueDepth {
    const known = this.#counts.get(queue)
    if (known !== undefined) return { ...known }
    const number = this.#names.find(queue)
    if (number === undefined) return { waiting: 0, claimed: 0, dead: 0 }
    const items = this.#sql.of('SELECT COUNT(*) AS items, COALESCE(SUM(claimed), 0) AS claimed FROM queue_items WHERE queue = ?').get(number)
    const dead = this.#sql.of('SELECT COUNT(*) AS dead FROM queue_dead WHERE queue = ?').get(number)
    const claimed = Number(items?.['claimed'])
    const counts = { waiting: Number(items?.['items']) - claimed, claimed, dead: Number(dead?.['dead']) }
    this.#counts.set(queue, counts)
    return { ...counts }
  }

  /** After a rollback: the counts may hold what did not happen. */
  forget(): void {
    this.#counts.clear()
  }

  #count(queue: string, change: Partial<Counts>): void {
    const counts = this.#counts.get(queue)
    if (counts === undefined) return
    counts.waiting += change.waiting ?? 0
    counts.claimed += change.claimed ?? 0
    counts.dead += change.dead ?? 0
  }

  /** Looks at twice as many old ids as were added, so that the table shrinks to its bounds without a long pause (Q3). */
  #forgetOldest(added: number, nowMs: number): void {
    if (added === 0) return
    const newest = Number(this.#sql.of('SELECT MAX(number) AS newest FROM queue_done').get()?.['newest'])
    const oldest = this.#sql.of('SELECT number, done_ms FROM queue_done ORDER BY number LIMIT ?').all(2 * added)
    let last: number | undefined
    for (const row of oldest) {
      const number = Number(row['number'])
      if (number > newest - this.#memory.rememberMax && Number(row['done_ms']) >= nowMs - this.#memory.rememberMs) break
      last = number
    }
    if (last !== undefined) this.#sql.of('DELETE FROM queue_done WHERE number <= ?').run(last)
  }
}

/** A row of `queue_items` or `queue_dead` as the interface's type. */
export function claimedItem(row: Record<string, unknown>, attemptsToAdd = 0): ClaimedItem {
  return {
    id: String(row['id']),
    payload: String(row['payload']),
    dueAtMs: Number(row['due_ms']),
    attempt: Number(row['attempt']) + attemptsToAdd,
    enqueuedAtMs: Number(row['enqueued_ms']),
  }
}
