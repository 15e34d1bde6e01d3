/**
 * The disk below a directory, for measurements with a cold page cache: emptying the cache, and the read-ahead that page faults get.
 *
 * The kernel copies a disk's read-ahead into every file when it is opened, and a mapped file keeps that one. So another read-ahead is
 * set only while files are opened, and the disk's own is put back at once: other programs on the machine hardly notice.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { openImage } from '#pager/restore.ts'
import { openSnapshot } from '#pager/open-snapshot.ts'

const TMPFS = 0x0102_1994
const DROP_CACHES = '/proc/sys/vm/drop_caches'

export class Disk {
  /** The disk's own setting, KB; undefined where it is not known. */
  readonly readAheadKb: number | undefined
  /** Whether this user can empty the whole page cache. Otherwise only the snapshots' files are dropped from it. */
  readonly dropsAll: boolean
  readonly #directory: string
  readonly #setting: string | undefined

  /** @throws Error when nothing there is ever read from a disk. */
  constructor(directory: string) {
    if (statfsSync(directory).type === TMPFS) throw new Error(`${directory} is in memory, so that nothing there is read from a disk; set TMPDIR to a directory on one.`)
    this.#directory = directory
    this.#setting = readAheadFile(statSync(directory).dev)
    this.readAheadKb = this.#setting === undefined ? undefined : Number(readFileSync(this.#setting, 'utf8'))
    this.dropsAll = isWritable(DROP_CACHES)
  }

  /** Whether {@link withReadAhead} can do anything. */
  get canSetReadAhead(): boolean {
    return this.#setting !== undefined && isWritable(this.#setting)
  }

  /** Everything that was written so far is on the disk: only such pages can be dropped. */
  sync(): void {
    execFileSync('sync', ['-f', this.#directory])
  }

  /** @param snapshots Directories of snapshots' files, for users who cannot drop all. */
  dropCache(snapshots: readonly string[]): void {
    if (this.dropsAll) return writeFileSync(DROP_CACHES, '1')
    for (const directory of snapshots) {
      using snapshot = openSnapshot(directory)
      using image = openImage(snapshot)
      image.dropCache()
    }
  }

  /** Files that are opened while `open` runs have this read-ahead for as long as they are open. */
  async withReadAhead<Result>(kb: number | undefined, open: () => Promise<Result>): Promise<Result> {
    if (kb === undefined || kb === this.readAheadKb) return await open()
    const restore = (): void => writeFileSync(this.#setting!, String(this.readAheadKb))
    process.once('exit', restore)
    writeFileSync(this.#setting!, String(kb))
    try {
      return await open()
    } finally {
      restore()
      process.off('exit', restore)
    }
  }
}

/** Of the disk, also when the device is a part of one. */
function readAheadFile(device: number): string | undefined {
  const major = ((device >>> 8) & 0xfff) >>> 0
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00)
  const of = `/sys/dev/block/${major}:${minor}`
  return [`${of}/queue/read_ahead_kb`, `${of}/../queue/read_ahead_kb`].find((path) => existsSync(path))
}

/** What is there may be written the same way again without a change. */
function isWritable(path: string): boolean {
  if (process.getuid?.() !== 0) return false
  try {
    if (path !== DROP_CACHES) writeFileSync(path, readFileSync(path))
    return existsSync(path)
  } catch {
    return false
  }
}
