/**
 * For tests: starts the host of wasi-host.fixture.ts with one WebAssembly function, and speaks frames to it.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { InitFrame } from '../../../src/contract/frames.ts'
import { RuntimePeer } from '../../../test/kit/runtime-peer.ts'

export const wasmFixtures = join(import.meta.dirname, '../../../test/functions/wasm')

/** The bytes of a fixture of test/functions/wasm. */
export function wasmFixture(name: string): Buffer {
  return readFileSync(join(wasmFixtures, `${name}.wasm`))
}

export interface WasiPeerOptions {
  readonly files?: Readonly<Record<string, string | Uint8Array>>
  readonly init?: Partial<InitFrame>
  readonly environment?: Readonly<Record<string, string>>
}

/** A host with this function, initialised. */
export async function startWasi(module: Uint8Array, options: WasiPeerOptions = {}): Promise<RuntimePeer> {
  const peer = new RuntimePeer({ args: [join(import.meta.dirname, 'wasi-host.fixture.ts')], files: { 'main.wasm': module, ...options.files }, ...(options.environment !== undefined && { environment: options.environment }) })
  try {
    await peer.hello()
    await peer.init({ entry: 'main.wasm', memoryMb: 16, ...options.init })
    return peer
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
}
