/**
 * Accepts exactly one connection on a socket in a directory that a sandbox sees, and takes the socket away again.
 */
import { closeSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'

/** Of sun_path, with its end. A data directory may lie deeper. */
const SOCKET_PATH_MAX = 107

export interface AcceptOptions {
  readonly clock: Clock
  readonly timeoutMs: number
  /** Settles when nobody will connect any more. */
  readonly gone: Promise<unknown>
  /** Called when the socket is there, with its name. */
  readonly listening: (name: string) => void
}

/** @throws START_FAILED when nobody connects in time. */
export async function acceptOne(directory: string, name: string, options: AcceptOptions): Promise<Socket> {
  const path = join(directory, name)
  const descriptor = path.length > SOCKET_PATH_MAX ? openSync(directory, 'r') : undefined
  const server = createServer()
  const accepted = Promise.withResolvers<Socket>()
  const refuse = (why: string): void => accepted.reject(new PlatformError('START_FAILED', `The faaslet host did not connect: ${why}. Send the request again.`))
  server.once('connection', accepted.resolve)
  server.once('error', accepted.reject)
  const timer = options.clock.after(options.timeoutMs, () => refuse(`it took longer than ${options.timeoutMs} ms`))
  void options.gone.then(() => refuse('it has ended'))
  try {
    server.listen({ path: descriptor === undefined ? path : `/proc/self/fd/${descriptor}/${name}`, readableAll: true, writableAll: true }, () => options.listening(name))
    return await accepted.promise
  } finally {
    timer.cancel()
    server.close()
    rmSync(path, { force: true })
    if (descriptor !== undefined) closeSync(descriptor)
  }
}
