/**
 * What the tests of this folder stand on: real bodies in a temporary directory, and a clock that moves when told.
 *
 * Memory is real where the addon is; elsewhere it is a file without a name, too. Either way every body that is open is counted by its descriptor.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, openSync, readdirSync, readlinkSync, readSync, rmSync, statSync, unlinkSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { seededRandom } from '#base/seeded-random.ts'
import type { HeldBody } from '#contract/held-body.ts'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { cancelled } from './cancelled.ts'
import { transferDefaults } from './config.ts'
import type { TransferConfig } from './config.ts'
import type { Lease, ObjectServer, PeerOptions, Peers } from './peers.ts'
import { ReferenceKeys } from './reference.ts'
import { sharedMemory } from './shared-memory.ts'
import { fileBodies, memoryBodies } from './spill.ts'
import type { BodyMaker } from './spill.ts'
import { Transfers } from './transfers.ts'
import type { Producer, TransfersOptions } from './transfers.ts'

export interface TestGround {
  readonly clock: ManualClock
  readonly directory: string
  readonly randomBytes: (length: number) => Buffer
  readonly memory: BodyMaker
  readonly files: BodyMaker
  readonly keys: ReferenceKeys
  /** With small bounds unless told otherwise: room for everything but `config`. */
  transfers(config?: Partial<TransferConfig>, options?: Partial<TransfersOptions>): Transfers
  /** A body in memory of this content. */
  body(content: Uint8Array): HeldBody
  /** Descriptors open on bodies. */
  descriptors(): number
}

export function testGround(context: TestContext, seed = 1): TestGround {
  const directory = mkdtempSync(join(tmpdir(), 'skep-transfer-'))
  const clock = new ManualClock()
  const random = seededRandom(seed)
  const randomBytes = (length: number): Buffer => Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)))
  const memory = memoryBodies(sharedMemory() ?? filesAsMemory(directory))
  // Memory of somebody else, which goes when it is collected.
  const others = new Set(openBodies(directory))
  const files = fileBodies(join(directory, 'objects'))
  const keys = new ReferenceKeys({ id: 1, key: randomBytes(32) }, { nowMs: () => clock.epochMs(), randomBytes, objectLifeMs: transferDefaults.ttlMsMax })
  const made: Transfers[] = []
  context.after(() => {
    for (const transfers of made) transfers.close()
    rmSync(directory, { recursive: true })
  })
  return {
    clock,
    directory,
    randomBytes,
    memory,
    files,
    keys,
    transfers(config = {}, options = {}) {
      const bounds = { ...transferDefaults, memoryBytesMax: 1e9, fileBytesMax: 1e9, namespaceBytesMax: 1e9, ...config }
      const transfers = new Transfers({ worker: 'w1', config: bounds, keys, clock, randomBytes, places: { memory, files }, ...options })
      made.push(transfers)
      return transfers
    },
    body(content) {
      const body = memory.create()
      body.writeNow(content)
      return body.finish()
    },
    descriptors: () => openBodies(directory).filter((inode) => !others.has(inode)).length,
  }
}

export function producer(fields: Partial<Producer> = {}): Producer {
  return { namespace: 'n', function: 'f', revision: 1, instance: 'i1', invocation: '0'.repeat(32), memoryMb: 256, ...fields }
}

/** Bytes that say where they are: a part of them, or parts in another order, are not taken for the whole. */
export function content(bytes: number, seed = 0): Buffer {
  const buffer = Buffer.alloc(bytes)
  for (let offset = 0; offset < bytes; offset++) buffer[offset] = (offset * 31 + (offset >>> 8) * 7 + seed) & 0xff
  return buffer
}

export function readAll(body: HeldBody): Buffer {
  const buffer = Buffer.alloc(body.bytes + 1)
  let bytes = 0
  for (let count = 1; count > 0; bytes += count) count = readSync(body.fd, buffer, bytes, buffer.length - bytes, bytes)
  return buffer.subarray(0, bytes)
}

export async function collect(source: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of source) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function withCode(code: PlatformErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.equal((error as { code?: unknown }).code, code, String(error))
    return true
  }
}

/** Until it is so; file operations take as long as they take. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    assert(turn < 100_000, 'it does not come')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export interface Wire {
  readonly peers: Peers
  /** Pulls, and leases without bytes, so far. */
  readonly crossed: { pulls: number; leases: number }
  /** Streams under way, for tests that break them. */
  readonly streams: Readable[]
}

/** The workers of a group, in one process: what the transfer plane does, without a wire. */
export function wireBetween(workers: ReadonlyMap<string, ObjectServer>): Wire {
  const crossed = { pulls: 0, leases: 0 }
  const streams: Readable[] = []
  const serve = async (worker: string, objectId: string, { signal }: PeerOptions): Promise<Lease> => {
    const server = workers.get(worker)
    if (server === undefined) throw new PlatformError('OBJECT_LOST', `There is no worker ${worker}.`)
    // As over a wire: not at once, and what arrives too late is given back.
    await new Promise((resolve) => setImmediate(resolve))
    const lease = await server.serve(objectId, signal === undefined ? {} : { signal })
    if (signal?.aborted !== true) return lease
    lease.failed()
    throw cancelled(signal)
  }
  return {
    crossed,
    streams,
    peers: {
      async pull(worker, objectId, options) {
        const lease = await serve(worker, objectId, options)
        crossed.pulls++
        const stream = lease.body.retain().stream()
        streams.push(stream)
        return { bytes: lease.bytes, stream, done: () => lease.done(), failed: () => lease.failed() }
      },
      async lease(worker, objectId, options) {
        const lease = await serve(worker, objectId, options)
        crossed.leases++
        return lease
      },
    },
  }
}

/** Lets everything that is under way come to where it waits for the clock or for a caller. Of file operations, some. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
}

function filesAsMemory(directory: string): { create(): number; sealFd(fd: number): void } {
  let sequence = 0
  return {
    create() {
      const path = join(directory, `memory-${sequence++}`)
      const fd = openSync(path, 'wx+')
      unlinkSync(path)
      return fd
    },
    sealFd() {},
  }
}

/** The inodes of the bodies that are open: in this directory, or in memory. */
function openBodies(directory: string): bigint[] {
  // The listing's own descriptor may be gone by the time it is looked at.
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`)
      return path.startsWith('/memfd:skep-object') || path.startsWith(directory) ? [statSync(`/proc/self/fd/${fd}`, { bigint: true }).ino] : []
    } catch {
      return []
    }
  })
}
