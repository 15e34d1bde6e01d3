/**
 * Keeps two platforms from opening the same data.
 *
 * The lock is an exclusive transaction held on an empty side database, `<path>.lock`. SQLite holds it with a lock of
 * the kernel, which ends with the process however that ends: there is no stale lock to find and break. `<path>.pid`
 * only tells people who holds it.
 *
 * Invariants:
 *   L1. While one holder lives, every other `acquire` of the path fails, in this process too.
 *   L2. When the holder is gone, also by SIGKILL, the next `acquire` succeeds at once.
 *
 * The lock file must never be opened by node:fs in the process that holds it: closing any descriptor of a file drops
 * the POSIX locks that the process has on it. That is why the pid has a file of its own.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { WriterRefusal } from './sqlite-errors.ts'

/** A process that was just killed may take a moment to be taken down. */
const WAIT_MS = 300

export interface DataLock {
  release(): void
}

/** @param path The database file that is to be locked. @throws WriterRefusal with DATA_LOCKED. */
export function acquireDataLock(path: string): DataLock {
  const lock = new DatabaseSync(`${path}.lock`, { timeout: WAIT_MS })
  try {
    lock.exec('BEGIN EXCLUSIVE')
  } catch (thrown) {
    lock.close()
    if ((thrown as { errcode?: number }).errcode !== 5) throw thrown
    const pid = readPid(path)
    const holder = pid === undefined ? 'another process' : `the process ${pid}`
    const next = pid === undefined ? 'Stop that platform' : `Stop that platform (kill ${pid})`
    throw new WriterRefusal({
      code: 'DATA_LOCKED',
      message: `The data in ${path} is in use by ${holder}. ${next}, or give this one another data directory.`,
      details: { path, ...(pid !== undefined && { pid }) },
    })
  }
  try {
    writeFileSync(`${path}.pid`, `${process.pid}\n`)
  } catch {
    // Without the file (a full disk) a second platform is refused all the same, only not told by whom.
  }
  return {
    release() {
      rmSync(`${path}.pid`, { force: true })
      lock.close()
    },
  }
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(`${path}.pid`, 'utf8'), 10)
    return Number.isSafeInteger(pid) ? pid : undefined
  } catch {
    return undefined
  }
}
