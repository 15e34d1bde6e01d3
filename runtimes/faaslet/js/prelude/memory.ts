/**
 * Whole bodies, as runtimes/node/memory.ts looks to the SDK's runtime. Here the host maps what comes in (engine.ts `newMapped`), and
 * copies what leaves once, into memory that it passes: so memory to fill is the guest's own.
 *
 * Invariants:
 *   M1. A mapped buffer's place is given back when nobody has the buffer any more, and not before: also when its bytes were transferred.
 */
import { PlatformError } from '../../../../src/contract/errors.ts'
import { HostOp } from '../ops.ts'
import { Bytes } from './bytes.ts'
import { host } from './host.ts'
import type { IncomingBody } from './incoming.ts'
import { describe } from '../../../node/invocation.ts'

const MB = 1024 * 1024

/** There is none: the host passes bodies. */
export type Memory = never

/** @throws INPUT_INVALID, as the other kinds say it. */
export function allocate(_memory: unknown, bytes: number, memoryMb: number): Bytes {
  const bytesMax = Math.floor((memoryMb * MB) / 2)
  if (!Number.isInteger(bytes) || bytes < 0 || bytes > bytesMax) {
    throw new PlatformError('INPUT_INVALID', `allocate(${describe(bytes)}): a number of bytes from 0 to ${bytesMax}, half of the function's ${memoryMb} MB, can be allocated; deploy the function with a larger --memory, or put a stream.`, {
      details: { bytes: Number(bytes), bytesMax, memoryMb },
    })
  }
  return new Bytes(new ArrayBuffer(bytes))
}

export function readWhole(body: IncomingBody): Promise<Bytes> {
  return body.readAll()
}

export function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.length > 0 && bytes.length === bytes.buffer.byteLength ? new Uint8Array(bytes.buffer as ArrayBuffer) : new Uint8Array(bytes)
}

/** Where the buffers lie that are not in the engine's heap. A place is its own token: a buffer that is one is never collected (quickjs-wasi 3.6). */
const places = new WeakMap<ArrayBuffer, { readonly at: number }>()
const registry = new FinalizationRegistry<number>((at) => void host(HostOp.unmap, at))

/** From the host: bytes outside of the heap, and the address of their place. */
export function adopt(bytes: Uint8Array, at: number): void {
  keep(bytes.buffer as ArrayBuffer, at)
}

function keep(buffer: ArrayBuffer, at: number): void {
  const place = { at }
  places.set(buffer, place)
  registry.register(buffer, at, place)
}

/** The engine would move a mapped buffer's bytes to another buffer, or resize them in a heap in which they are not. */
export function guardTransfers(): void {
  for (const name of ['transfer', 'transferToFixedLength', 'transferToImmutable'] as const) {
    const prototype = ArrayBuffer.prototype as unknown as Record<string, (this: ArrayBuffer, length?: number) => ArrayBuffer>
    const transfer = prototype[name]
    if (transfer === undefined) continue
    const guarded = {
      [name](this: ArrayBuffer, ...args: [number?]): ArrayBuffer {
        const place = places.get(this)
        if (place === undefined) return transfer.apply(this, args)
        const copy = transfer.apply(this.slice(0), args)
        registry.unregister(place)
        places.delete(this)
        // Detaches it; what it detaches to is let go with its place.
        keep(transfer.call(this), place.at)
        return copy
      },
    }[name]!
    Object.defineProperty(prototype, name, { value: guarded, writable: true, configurable: true })
  }
}
