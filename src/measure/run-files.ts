/**
 * Where a run writes: its directory, the CSV files while samples come, and `summary.json`.
 *
 *   <output>/<unix time>/run_logs.txt, summary.json
 *   <output>/<unix time>/<directory of a sub-experiment>/latencies.csv, data-transfers.csv, statistics.csv
 *
 * STeLLAR keeps all samples in memory and writes them at the end; a run of hours that is killed has then measured nothing. Here lines are on their
 * way to the kernel within FLUSH_MS, which a killed process does not take back.
 *
 *   F1. A line that was written FLUSH_MS ago is in the file, whatever happens to the process; lines are whole but for the last one.
 *   F2. No two sub-experiments of a file share a directory, and each has the same one in every run of that file.
 *   F3. `summary.json` is the old one or the new one, never a part.
 */
import { appendFile, mkdir, open, rename } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { directoryName } from './csv.ts'
import type { SubExperiment } from './experiment.ts'
import { SUMMARY_FILE } from './run-summary.ts'
import type { RunSummary } from './run-summary.ts'

export const LOG_FILE = 'run_logs.txt'

/** A sample is lost to a kill for this long at most, and for the time of one write. */
const FLUSH_MS = 250
const FLUSH_LENGTH = 256 * 1024

/** As the original names them; the second of the same name gets "-2". */
export function directoryNames(all: readonly SubExperiment[]): string[] {
  const taken = new Set<string>()
  return all.map((one) => {
    const name = directoryName(one)
    let free = name
    for (let number = 2; taken.has(free); number++) free = `${name}-${number}`
    taken.add(free)
    return free
  })
}

/** Makes `<output>/<unix time>`; two runs that begin in the same second get two directories. */
export async function createRunDirectory(output: string, epochMs: number): Promise<string> {
  const name = String(Math.floor(epochMs / 1000))
  try {
    await mkdir(output, { recursive: true })
    for (let number = 1; ; number++) {
      const path = join(output, number === 1 ? name : `${name}-${number}`)
      try {
        await mkdir(path)
        return path
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      }
    }
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `${output} cannot be written (${reasonOf(cause)}): name another directory with -o`, { cause })
  }
}

export async function writeSummary(directory: string, summary: RunSummary): Promise<void> {
  await writeWhole(join(directory, SUMMARY_FILE), `${JSON.stringify(summary, undefined, 1)}\n`)
}

/** Replaces a file as a whole. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const beside = `${path}.new`
  try {
    await using file = await open(beside, 'w')
    await file.writeFile(text)
    await file.datasync()
    await rename(beside, path)
  } catch (cause) {
    throw writeFailed(path, cause)
  }
}

/** `run_logs.txt`: what was done when. */
export class RunLog {
  readonly #path: string
  readonly #nowMs: () => number
  #written: Promise<void> = Promise.resolve()

  constructor(directory: string, nowMs: () => number) {
    this.#path = join(directory, LOG_FILE)
    this.#nowMs = nowMs
  }

  /** What cannot be written to the log is no reason to end a measurement. */
  write(line: string): void {
    const text = `${new Date(this.#nowMs()).toISOString()} ${line}\n`
    this.#written = this.#written.then(() => appendFile(this.#path, text)).catch(() => {})
  }

  /** When all of it is written. */
  flushed(): Promise<void> {
    return this.#written
  }
}

/** Appends lines to a new file, in batches. */
export class LineFile implements AsyncDisposable {
  readonly #path: string
  readonly #file: FileHandle
  readonly #onFailed: (error: PlatformError) => void
  #text = ''
  #timer: NodeJS.Timeout | undefined
  #written: Promise<void> = Promise.resolve()
  #failure: PlatformError | undefined

  private constructor(path: string, file: FileHandle, onFailed: (error: PlatformError) => void) {
    this.#path = path
    this.#file = file
    this.#onFailed = onFailed
  }

  /** @param onFailed Called once, when lines cannot be written; what comes afterwards is dropped. Throws what else goes wrong. */
  static async create(path: string, header: string, onFailed: (error: PlatformError) => void): Promise<LineFile> {
    try {
      const file = await open(path, 'w')
      await file.appendFile(header)
      return new LineFile(path, file, onFailed)
    } catch (cause) {
      throw writeFailed(path, cause)
    }
  }

  /** @param line With its line end. */
  write(line: string): void {
    if (this.#failure !== undefined) return
    this.#text += line
    if (this.#text.length >= FLUSH_LENGTH) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#flush()
    await this.#written
    await this.#file.close()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const text = this.#text
    this.#text = ''
    if (text === '') return
    this.#written = this.#written.then(() => this.#file.appendFile(text)).catch((cause: unknown) => {
      if (this.#failure !== undefined) return
      this.#failure = writeFailed(this.#path, cause)
      this.#onFailed(this.#failure)
    })
  }
}

function writeFailed(path: string, cause: unknown): PlatformError {
  const full = ['ENOSPC', 'EDQUOT'].includes((cause as NodeJS.ErrnoException).code ?? '')
  if (full) return new PlatformError('STORE_FULL', `${path} cannot be written, the disk is full: make room, and resume the run`, { cause })
  return new PlatformError('STORE_FAILED', `${path} cannot be written (${reasonOf(cause)}): check the directory, and resume the run`, { cause })
}

function reasonOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? String(cause)
}
