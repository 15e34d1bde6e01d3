/**
 * The writer thread of the embedded store: the only connection that writes, so that no fsync ever stops the main thread.
 *
 * Started by write-pipe.ts with {@link WriterSettings} as workerData; the messages are drawn in sqlite-protocol.ts.
 * While it commits, further operations collect on the main side and are its next transaction.
 */
import { closeSync, existsSync, fsyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { WriterRefusal, describeSqliteError } from './sqlite-errors.ts'
import { acquireDataLock } from './sqlite-lock.ts'
import type { FromWriter, ToWriter, WriterSettings } from './sqlite-protocol.ts'
import { migrate } from './sqlite-schema.ts'
import { SqliteWrites } from './sqlite-writes.ts'

const settings = workerData as WriterSettings
const port = parentPort!

start()

function start(): void {
  let opened: ReturnType<typeof openDatabase>
  try {
    opened = openDatabase()
  } catch (thrown) {
    const error = thrown instanceof WriterRefusal ? thrown.body : describeSqliteError(settings.path, thrown)
    post({ kind: 'failed', error })
    return
  }
  const { writes, journalSequence, close } = opened
  port.on('message', (message: ToWriter) => {
    if (message.kind === 'commit') {
      post({ kind: 'committed', results: writes.commit(message.operations) })
      return
    }
    close()
    post({ kind: 'closed' })
    port.close()
  })
  post({ kind: 'ready', journalSequence })
}

function openDatabase(): { readonly writes: SqliteWrites; readonly journalSequence: number; readonly close: () => void } {
  const lock = acquireDataLock(settings.path)
  try {
    // What is in it is its owner's business; the files beside it get the same mode.
    if (!existsSync(settings.path)) closeSync(openSync(settings.path, 'a', 0o600))
    const database = new DatabaseSync(settings.path, { timeout: 5000 })
    try {
      // journal_size_limit: after a burst the log is cut back to 16 MB.
      database.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;
        PRAGMA cache_size = -2048;
        PRAGMA journal_size_limit = 16777216;`)
      if (settings.sizeMaxBytes !== undefined) {
        const pageBytes = Number(database.prepare('PRAGMA page_size').get()?.['page_size'])
        database.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(settings.sizeMaxBytes / pageBytes))}`)
      }
      if (migrate(database, settings.path) === 0) makeNewFileDurable()
      const writes = new SqliteWrites(database, settings)
      return {
        writes,
        journalSequence: writes.journalSequence(),
        close() {
          database.close()
          lock.release()
        },
      }
    } catch (thrown) {
      database.close()
      throw thrown
    }
  } catch (thrown) {
    lock.release()
    throw thrown
  }
}

/** A file's name is durable when its directory is. */
function makeNewFileDurable(): void {
  const directory = openSync(dirname(settings.path), 'r')
  fsyncSync(directory)
  closeSync(directory)
}

function post(message: FromWriter): void {
  port.postMessage(message)
}
