/**
 * Starting the user's program, and its lines of output.
 */
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '../../../src/contract/errors.ts'
import type { InitFrame } from '../../../src/contract/frames.ts'

const LINE_BYTES_MAX = 16 * 1024

export interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly environment: Readonly<Record<string, string>>
}

/** @throws PlatformError CODE_INVALID when the file is missing or may not be executed. */
export function programOf(root: string, frame: InitFrame): Program {
  const command = join(root, frame.entry)
  if (!existsSync(command)) throw new PlatformError('CODE_INVALID', `The code has no file "${frame.entry}". Deploy it with an entry that exists.`)
  try {
    accessSync(command, constants.X_OK)
  } catch (cause) {
    throw new PlatformError('CODE_INVALID', `"${frame.entry}" is not executable. Set its executable bit (chmod +x) and deploy again.`, { cause })
  }
  const environment = {
    PATH: process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: '/tmp',
    TMPDIR: '/tmp',
    ...frame.environment,
    SKEP_NAMESPACE: frame.namespace,
    SKEP_FUNCTION: frame.function,
    SKEP_REVISION: String(frame.revision),
  }
  return { command, args: frame.args ?? [], environment }
}

/** What starting a program failed with, in words: a script's missing interpreter looks like a missing file to the kernel. */
export function startFailure(frame: InitFrame, error: NodeJS.ErrnoException): PlatformError {
  const why = error.code === 'ENOENT' ? 'its interpreter (first line, "#!") or its loader is missing in the sandbox' : error.code === 'ENOEXEC' ? 'it is neither a program of this machine nor a script with "#!" in its first line' : error.message
  return new PlatformError('CODE_INVALID', `"${frame.entry}" cannot be started: ${why}.`, { cause: error })
}

/** Cuts output into lines, each at most 16 KB, and keeps the last few for an error message. */
export class LineReader {
  readonly last: string[] = []
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop()!
    for (const line of lines) this.#line(line)
    if (this.#rest.length > LINE_BYTES_MAX) this.end()
  }

  end(): void {
    if (this.#rest !== '') this.#line(this.#rest)
    this.#rest = ''
  }

  #line(line: string): void {
    this.last.push(line)
    if (this.last.length > 10) this.last.shift()
    this.#onLine(line)
  }
}
