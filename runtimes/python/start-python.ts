/** Starts the Python runtime on a fixture of test/functions/python, for the tests of this folder. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { InitFrame } from '#contract/frames.ts'
import { memoryHere, needsMemory, PeerMemory } from './peer-memory.ts'
import { RuntimePeer } from './runtime-peer.ts'
import type { RuntimePeerOptions } from './runtime-peer.ts'

const main = fileURLToPath(new URL('main.py', import.meta.url))
export const fixtures = fileURLToPath(new URL('../../test/functions/python', import.meta.url))

/** The real program: `python3` on the PATH may be a version manager's script, which costs more than Python itself. */
export const python = findPython()
/** For `describe(name, needsPython, …)`. */
export const needsPython = { skip: python === undefined ? 'there is no python3 on the PATH' : false }

/** The same, for tests that pass memory. */
export const needsPythonAndMemory = needsPython.skip === false ? needsMemory : needsPython

/** `memory`: descriptor 5 is there. */
export type PythonOptions = Partial<InitFrame> & Pick<RuntimePeerOptions, 'onCall'> & { readonly app?: string; readonly memory?: boolean }

/** A stem cell: started, nothing loaded. */
export function startStemCell(options: Pick<PythonOptions, 'app' | 'onCall' | 'memory'> = {}): RuntimePeer {
  const { app = fixtures, onCall, memory = false } = options
  return new RuntimePeer({
    command: [python!, '-I', '-S', '-X', 'utf8', main],
    environment: { SKEP_APP_DIR: app },
    ...(onCall !== undefined && { onCall }),
    ...(memory && { memory: new PeerMemory(memoryHere!) }),
  })
}

/** An instance of the fixture `entry`. */
export async function startFunction(entry: string, options: PythonOptions = {}): Promise<RuntimePeer> {
  const { app, onCall, memory = false, ...init } = options
  const peer = startStemCell({ memory, ...(app !== undefined && { app }), ...(onCall !== undefined && { onCall }) })
  try {
    await peer.init({ ...init, entry })
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
  return peer
}

function findPython(): string | undefined {
  try {
    return execFileSync('python3', ['-I', '-S', '-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}
