/**
 * The prelude as one file: bytecode of the guest's side (prelude/) and of the module `skep` (runtimes/node/sdk).
 *
 * ```
 *   "SKPL" │ u32 bytes of main │ main │ skep
 * ```
 */
import { PlatformError } from '../../../src/contract/errors.ts'

export interface Prelude {
  /** A script whose value is a function: given the host's function, it returns `enter`. */
  readonly main: Uint8Array
  /** The module `skep`. */
  readonly sdk: Uint8Array
}

const MAGIC = 'SKPL'

export function encodePrelude({ main, sdk }: Prelude): Buffer {
  const head = Buffer.alloc(8)
  head.write(MAGIC, 0, 'latin1')
  head.writeUInt32LE(main.length, 4)
  return Buffer.concat([head, main, sdk])
}

/** @throws PlatformError RUNTIME_MISSING when it is no such file. */
export function decodePrelude(file: Buffer): Prelude {
  const mainBytes = file.length < 8 ? 0 : file.readUInt32LE(4)
  if (file.toString('latin1', 0, 4) !== MAGIC || file.length < 8 + mainBytes) {
    throw new PlatformError('RUNTIME_MISSING', 'The prelude of kind js is damaged. Remove the runtime directory of the data directory: it is made again at the next start.')
  }
  return { main: file.subarray(8, 8 + mainBytes), sdk: file.subarray(8 + mainBytes) }
}
