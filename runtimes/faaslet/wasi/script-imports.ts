/**
 * What AssemblyScript's own runtime imports from `env`, when it is built without WASI.
 *
 * Its strings are UTF-16 with their size in bytes in the four bytes before them.
 *
 * Source: AssemblyScript, "Runtime" and "Host bindings"; std/assembly/rt/common.ts for the object header.
 */
import { randomBytes } from 'node:crypto'
import { ScriptAbort } from './failures.ts'
import type { Run } from './run.ts'

const TEXT_BYTES_MAX = 64 * 1024

export const scriptImports = {
  abort(run: Run, message: number, file: number, line: number, column: number): void {
    throw new ScriptAbort(`${text(run, message) || 'aborted'} in ${text(run, file) || 'its code'}:${line >>> 0}:${column >>> 0}`)
  },

  seed(): number {
    return randomBytes(6).readUIntBE(0, 6)
  },

  trace(run: Run, message: number, count: number, ...values: number[]): void {
    run.log.entry('info', [text(run, message), ...values.slice(0, Math.max(0, count))].join(' '))
  },

  'console.log'(run: Run, message: number): void {
    run.log.entry('info', text(run, message))
  },

  'Date.now'(): number {
    return Date.now()
  },
}

function text(run: Run, address: number): string {
  if (address === 0) return ''
  const bytes = Math.min(run.memory.u32(address - 4), TEXT_BYTES_MAX)
  return run.memory.bytes(address, bytes & ~1).toString('utf16le')
}
