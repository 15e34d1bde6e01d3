/**
 * The tables of the embedded store, and how older data becomes current.
 *
 * The number in `meta` says which steps of {@link migrations} the data has seen. A step is never edited once released:
 * a change to the tables is a new step at the end.
 *
 * Invariants:
 *   S1. A step and its number are one transaction: an interrupted migration resumes where it stopped.
 *   S2. Data with a higher number than this version knows is not touched (DATA_VERSION_NEWER).
 */
import type { DatabaseSync } from 'node:sqlite'
import { WriterRefusal } from './sqlite-errors.ts'

export type Migration = (database: DatabaseSync) => void

export const migrations: readonly Migration[] = [createTables]

/**
 * Brings the data up to date.
 *
 * @param steps Step n leads from version n to n + 1. @returns The version it had; 0 is new data.
 * @throws WriterRefusal with DATA_VERSION_NEWER; errors of SQLite.
 */
export function migrate(database: DatabaseSync, path: string, steps: readonly Migration[] = migrations): number {
  const found = readVersion(database)
  if (found > steps.length) {
    throw new WriterRefusal({
      code: 'DATA_VERSION_NEWER',
      message:
        `The data in ${path} has version ${found}, and this skep reads up to version ${steps.length}. ` +
        'Start it with the newer skep that wrote it, or give this one another data directory.',
      details: { path, version: found, versionMax: steps.length },
    })
  }
  for (let version = found; version < steps.length; version++) {
    database.exec('BEGIN IMMEDIATE')
    try {
      steps[version]!(database)
      database.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('schema', ?)").run(version + 1)
      database.exec('COMMIT')
    } catch (thrown) {
      try {
        database.exec('ROLLBACK')
      } catch {
        // SQLite has rolled back by itself.
      }
      throw thrown
    }
  }
  return found
}

function readVersion(database: DatabaseSync): number {
  const meta = database.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").get()
  if (meta === undefined) return 0
  const row = database.prepare("SELECT value FROM meta WHERE key = 'schema'").get()
  return Number(row?.['value'] ?? 0)
}

/**
 * Version 1. Names of queues and journals stand once in `names`; rows carry the number. `ready_ms` is when an item may
 * be claimed: its due time while it waits, the end of its lease while it is claimed; so claiming is one index range.
 * The payload comes last: an update that leaves the length of a row alone does not write its overflow pages.
 */
function createTables(database: DatabaseSync): void {
  database.exec(`
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE names (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

    CREATE TABLE entities (collection TEXT NOT NULL, key TEXT NOT NULL, revision INTEGER NOT NULL, value TEXT NOT NULL);
    CREATE UNIQUE INDEX entities_by_key ON entities (collection, key);

    CREATE TABLE queue_items (
      number INTEGER PRIMARY KEY, queue INTEGER NOT NULL, id TEXT NOT NULL, ready_ms INTEGER NOT NULL, claimed INTEGER NOT NULL,
      attempt INTEGER NOT NULL, due_ms INTEGER NOT NULL, enqueued_ms INTEGER NOT NULL, payload TEXT NOT NULL);
    CREATE UNIQUE INDEX queue_items_by_id ON queue_items (queue, id);
    CREATE INDEX queue_items_by_ready ON queue_items (queue, ready_ms);

    CREATE TABLE queue_dead (
      number INTEGER PRIMARY KEY, queue INTEGER NOT NULL, id TEXT NOT NULL, attempt INTEGER NOT NULL, due_ms INTEGER NOT NULL,
      enqueued_ms INTEGER NOT NULL, buried_ms INTEGER NOT NULL, reason TEXT NOT NULL, payload TEXT NOT NULL);
    CREATE UNIQUE INDEX queue_dead_by_id ON queue_dead (queue, id);

    CREATE TABLE queue_done (number INTEGER PRIMARY KEY, queue INTEGER NOT NULL, id TEXT NOT NULL, done_ms INTEGER NOT NULL);
    CREATE UNIQUE INDEX queue_done_by_id ON queue_done (queue, id);

    CREATE TABLE journal_batches (
      sequence INTEGER PRIMARY KEY, journal INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
      count INTEGER NOT NULL, codec INTEGER NOT NULL, payload BLOB NOT NULL);
    CREATE INDEX journal_batches_by_first ON journal_batches (journal, first_ms, last_ms, count);
    CREATE INDEX journal_batches_by_last ON journal_batches (journal, last_ms, first_ms, count);
  `)
}
