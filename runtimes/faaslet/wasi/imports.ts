/**
 * The imports object of a WebAssembly guest: every function of abi.ts, bound to whoever runs.
 *
 * Made once per host: a function finds its run in `Running`, which `Enter` sets, so no instance has functions of its own.
 * An address outside of memory is the guest's error number (EFAULT), never an exception of the host.
 */
import type { Running } from '../guest.ts'
import { suspending } from '../wasm/jspi.ts'
import { Errno, SCRIPT_MODULE, SKEP_MODULE, SkepError, waitingImports, WASI_MODULE, type ScriptName, type SkepName, type WasiName } from './abi.ts'
import { WasiError } from './files.ts'
import { MemoryFault } from './guest-memory.ts'
import { ioImports } from './io-imports.ts'
import { objectImports } from './object-imports.ts'
import { pathImports } from './path-imports.ts'
import { processImports } from './process-imports.ts'
import type { Run } from './run.ts'
import { scriptImports } from './script-imports.ts'
import { skepImports } from './skep-imports.ts'

type HostFunction = (run: Run, ...args: never[]) => unknown

const wasiImports: Readonly<Record<WasiName, HostFunction>> = { ...ioImports, ...pathImports, ...processImports }
const skep: Readonly<Record<SkepName, HostFunction>> = { ...skepImports, ...objectImports }
const script: Readonly<Record<ScriptName, HostFunction>> = scriptImports

const made = new WeakMap<Running, WebAssembly.Imports>()

/** The imports of all WebAssembly guests of a host. */
export function importsOf(running: Running): WebAssembly.Imports {
  let imports = made.get(running)
  if (imports === undefined) {
    imports = {
      [WASI_MODULE]: bind(running, wasiImports, errnoOf),
      [SKEP_MODULE]: bind(running, skep, skepErrorOf),
      [SCRIPT_MODULE]: bind(running, script, (error) => {
        if (error instanceof MemoryFault) return 0
        throw error
      }),
    }
    made.set(running, imports)
  }
  return imports
}

function bind(running: Running, functions: Readonly<Record<string, HostFunction>>, onError: (error: unknown) => number): WebAssembly.ModuleImports {
  return Object.fromEntries(
    Object.entries(functions).map(([name, run]) => {
      const bound = (...args: never[]): unknown => {
        try {
          // No result is success: 0.
          return run(running.faaslet!.state as Run, ...args) ?? 0
        } catch (error) {
          return onError(error)
        }
      }
      return [name, waitingImports.has(name) && functions !== script ? suspending(bound) : bound]
    }),
  )
}

function errnoOf(error: unknown): number {
  if (error instanceof WasiError) return error.errno
  if (error instanceof MemoryFault) return Errno.fault
  throw error
}

function skepErrorOf(error: unknown): number {
  if (error instanceof MemoryFault) return SkepError.fault
  throw error
}
