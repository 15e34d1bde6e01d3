/**
 * Producer and consumer of the scenario `transfer-local`, one file for both functions: whoever is invoked with a reference consumes.
 *
 * Both take times on the machine's monotonic clock, which all processes of a machine share. An object begins with a stamp of its own and ends with a
 * known byte, and the consumer gives back what it has read of both: a transfer of other bytes is an error, not a time.
 */
import { allocate, get, invoke, put } from 'skep'

/** One transfer. `memcpy` and `warm-memcpy` only have a put. */
export interface Sample {
  readonly putMs: number
  readonly getMs: number
  /** From the begin of putting, or of the invocation where nothing is put, until the consumer has read the first and the last byte. */
  readonly endToEndMs: number
}

export type PairWay = 'allocated' | 'plain' | 'inline' | 'memcpy' | 'warm-memcpy'

interface Consumed {
  readonly getMs: number
  readonly readAtMs: number
  readonly stamp: number
  readonly last: number
}

const LAST = 0x5a
let plain: Buffer = Buffer.alloc(0)
let warm: Buffer = Buffer.alloc(0)
let stamps = 0

export async function main(event: Buffer | { readonly reference: string } | { readonly ways: readonly PairWay[]; readonly bytes: number; readonly times: number }): Promise<unknown> {
  if (event instanceof Uint8Array) return read(event, now())
  if ('reference' in event) {
    const beganMs = now()
    return read(await get(event.reference), beganMs)
  }
  const { ways, bytes, times } = event
  if (plain.length !== bytes) plain = filled(Buffer.allocUnsafeSlow(bytes))
  const samples: Partial<Record<PairWay, Sample[]>> = {}
  for (let turn = 0; turn < times; turn++) for (const way of ways) (samples[way] ??= []).push(await transfer(way, bytes))
  return samples
}

async function transfer(way: PairWay, bytes: number): Promise<Sample> {
  if (way === 'memcpy' || way === 'warm-memcpy') return copy(way === 'memcpy')
  const stamp = ++stamps
  // Made in place; making the bytes is the function's own work, whatever happens to them afterwards.
  const object = way === 'allocated' ? filled(allocate(bytes)) : plain
  object.writeDoubleLE(stamp, 0)
  const beganMs = now()
  if (way === 'inline') return sampleOf(beganMs, 0, check(await invoke<Consumed>('consumer', object), stamp))
  const reference = await put(object)
  const putMs = now() - beganMs
  return sampleOf(beganMs, putMs, check(await invoke<Consumed>('consumer', { reference }), stamp))
}

/** The least that handing over bytes by value can cost: one copy, into memory that is fresh as that of `put` is, or into memory that is there. */
function copy(isFresh: boolean): Sample {
  if (!isFresh && warm.length !== plain.length) warm = Buffer.from(plain)
  const beganMs = now()
  if (isFresh) Buffer.from(plain)
  else plain.copy(warm)
  const putMs = now() - beganMs
  return { putMs, getMs: 0, endToEndMs: putMs }
}

function sampleOf(beganMs: number, putMs: number, { getMs, readAtMs }: Consumed): Sample {
  return { putMs, getMs, endToEndMs: readAtMs - beganMs }
}

function read(object: Buffer, beganMs: number): Consumed {
  const stamp = object.readDoubleLE(0)
  const last = object[object.length - 1]!
  const readAtMs = now()
  return { getMs: readAtMs - beganMs, readAtMs, stamp, last }
}

function check(consumed: Consumed, stamp: number): Consumed {
  if (consumed.stamp !== stamp || consumed.last !== LAST) throw new Error(`The consumer read ${consumed.stamp} and ${consumed.last}, where ${stamp} and ${LAST} were put.`)
  return consumed
}

function filled(buffer: Buffer): Buffer {
  return buffer.fill(LAST)
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
