/**
 * Says in the platform's words what SQLite or the file system reported.
 *
 * It gives an error body and not an error, because the writer thread posts it; only types are imported, which keeps
 * that thread's start short.
 */
import type { PlatformErrorBody } from '#contract/errors.ts'

const SQLITE_BUSY = 5
const SQLITE_READONLY = 8
const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_CANTOPEN = 14
const SQLITE_NOTADB = 26
/** The shared-memory file could not be made larger: the disk is full. */
const SQLITE_IOERR_SHMSIZE = 4874

/** @param path The database file, for the message. @param thrown Whatever was caught. */
export function describeSqliteError(path: string, thrown: unknown): PlatformErrorBody {
  const error = thrown as { readonly code?: unknown; readonly errcode?: unknown; readonly message?: unknown }
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  const extended = typeof error.errcode === 'number' ? error.errcode : 0
  const code = extended & 0xff
  const failed = (message: string): PlatformErrorBody => ({ code: 'STORE_FAILED', message, details: { path, sqlite: extended, cause: text } })

  if (code === SQLITE_FULL || extended === SQLITE_IOERR_SHMSIZE || error.code === 'ENOSPC') {
    return {
      code: 'STORE_FULL',
      message: `No room for more data in ${path}: nothing was written. Free disk space (or raise the size limit), then try again.`,
      details: { path },
    }
  }
  if (code === SQLITE_CORRUPT || code === SQLITE_NOTADB) {
    return failed(`The database ${path} is damaged (${text}). Put back a copy of it, or move it away to start with empty data.`)
  }
  if (code === SQLITE_CANTOPEN || error.code === 'EACCES' || error.code === 'ENOENT') {
    return failed(`The database ${path} cannot be opened (${text}). Check that its directory exists and that this user may write there.`)
  }
  if (code === SQLITE_READONLY) return failed(`The database ${path} is read-only (${text}). Make the file and its directory writable.`)
  if (code === SQLITE_BUSY) return failed(`The database ${path} is in use by another program (${text}). Close that program and try again.`)
  return failed(`The database ${path} failed: ${text}. Check the disk, then restart the platform.`)
}

/** Thrown inside the writer to answer one operation with an error of the table. */
export class WriterRefusal extends Error {
  readonly body: PlatformErrorBody

  constructor(body: PlatformErrorBody) {
    super(body.message)
    this.body = body
  }
}
