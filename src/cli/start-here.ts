/** A platform inside this process, for up, dev and demo, and the signals that end it. */
import { setFlagsFromString } from 'node:v8'
import { PlatformError } from '#contract/errors.ts'
import type { WorkerConfig } from '#worker/config.ts'

export interface StartOptions {
  readonly port: number
  readonly dataDirectory: string
  readonly host?: string
  readonly allowUnsandboxed?: boolean
  readonly worker?: Partial<WorkerConfig>
  readonly callbackHosts?: readonly string[]
}

export interface RunningPlatform {
  readonly url: string
  readonly namespace: string
  readonly key: string
  close(): Promise<void>
}

/** @throws PORT_IN_USE, DATA_LOCKED, DATA_VERSION_NEWER, ISOLATION_MISSING. */
export async function startHere(options: StartOptions): Promise<RunningPlatform> {
  const { startPlatform } = await import('#local/main.ts')
  // Marking begins when the heap has grown by 70 % of what it may. Left alone, V8 begins at once after each collection as soon as its young generation
  // is larger than that, which with a heap of 20 MB and some bodies it is. After the imports: their compiled code is kept for these very flags.
  for (const flag of ['--incremental-marking-soft-trigger=70', '--incremental-marking-hard-trigger=90']) setFlagsFromString(flag)
  try {
    return await startPlatform(options)
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'EADDRINUSE') throw portInUse(options.port, thrown)
    if ((thrown as NodeJS.ErrnoException).code === 'EACCES' && (thrown as NodeJS.ErrnoException).syscall === 'listen') {
      throw new PlatformError('FORBIDDEN', `This user may not listen at port ${options.port}. Take one above 1023, for example: --port 7070`, { cause: thrown })
    }
    throw thrown
  }
}

/** Resolves with the first signal that asks to end. A second one ends at once. */
export function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let asked = false
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(130)
        asked = true
        resolve(signal)
      })
    }
  })
}

function portInUse(port: number, cause: unknown): PlatformError {
  return new PlatformError('PORT_IN_USE', `Port ${port} is in use, maybe by another platform. Stop that one, or take another port: --port ${port + 1}, or --port 0 for any that is free.`, { cause, details: { port } })
}
