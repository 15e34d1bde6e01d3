/**
 * The functions of the scenario `transfer-patterns`, one file for all: the driver is invoked with a pattern, producers and consumers with what to do.
 *
 *   gather     N producers put an object each; one consumer gets all of them
 *   scatter    the driver puts N objects and invokes N consumers with one each
 *   broadcast  the driver puts one object and invokes N consumers with it
 *
 * All transports run the same lines: an object lies in an ordinary buffer, goes into the transport, its handle into an invocation, and out of the transport whole. It
 * begins with a stamp of its own, so that no storage keeps two as one, and a consumer checks it and the last byte. Times are on the machine's monotonic clock.
 */
import { context, get, invoke, put } from 'skep'
import { crc32 } from 'node:zlib'
import { isStorageName, storageNamed } from '../../../examples/transports/storage.ts'

export type Pattern = 'gather' | 'scatter' | 'broadcast'
export type PatternTransport = 'xdt' | 's3' | 'redis'
/** A consumer reads the first and the last byte, or all of them (CRC-32). */
export type Reading = 'touched' | 'summed'

export interface PatternRun {
  readonly pattern: Pattern
  readonly degree: number
  readonly bytes: number
  readonly transport: PatternTransport
  readonly reading: Reading
}

export interface PatternTime {
  /** From the driver's first put or invocation until the last consumer has read. */
  readonly ms: number
  /** Different ones that have produced or consumed, beside the driver. */
  readonly instances: number
}

interface Labelled {
  readonly handle: string
  readonly stamp: number
  /** Of who put it. */
  readonly instance: string
}
type Produce = { readonly do: 'produce'; readonly transport: PatternTransport; readonly bytes: number; readonly stamp: number }
type Consume = { readonly do: 'consume'; readonly transport: PatternTransport; readonly reading: Reading; readonly objects: readonly Labelled[] }
interface Consumed {
  readonly instance: string
  readonly readAtMs: number
  readonly sums: readonly number[]
}

/** What no storage has seen before: of this life of the instance, and this number in it. */
const life = Math.floor(Math.random() * 2 ** 20)
let count = 0
const buffers = new Map<string, Buffer>()
// A producer makes its objects before it is invoked: it has them when the time begins.
for (const bytes of process.env['OBJECT_BYTES']?.split(',') ?? []) bufferOf(Number(bytes), 0)

export async function main(event: PatternRun | Produce | Consume): Promise<PatternTime | Labelled | Consumed> {
  if (!('do' in event)) return await drive(event)
  return event.do === 'produce' ? { handle: await putObject(event, bufferOf(event.bytes, 0), 1), stamp: event.stamp, instance: context().instance } : await consume(event)
}

async function drive(run: PatternRun): Promise<PatternTime> {
  const { pattern, degree, bytes, transport, reading } = run
  const stamps = Array.from({ length: pattern === 'broadcast' ? 1 : degree }, () => life * 2 ** 30 + ++count)
  // Made before the clock runs.
  const own = pattern === 'gather' ? [] : stamps.map((_, index) => bufferOf(bytes, index))
  const { instance } = context()
  const consumeBy = (name: string, objects: readonly Labelled[]): Promise<Consumed> => invoke<Consumed>(name, { do: 'consume', transport, reading, objects } satisfies Consume)
  const beganMs = now()
  const handles: Labelled[] = []
  let consumed: readonly Consumed[]
  switch (pattern) {
    case 'gather':
      handles.push(...(await Promise.all(stamps.map((stamp) => invoke<Labelled>('patterns-producer', { do: 'produce', transport, bytes, stamp } satisfies Produce)))))
      consumed = [await consumeBy('patterns-gatherer', handles)]
      break
    case 'scatter':
      // All are put before anybody is invoked, so that each is got by an instance of its own.
      handles.push(...(await Promise.all(stamps.map(async (stamp, index) => ({ handle: await putObject({ transport, stamp }, own[index]!, 1), stamp, instance })))))
      consumed = await Promise.all(handles.map((object) => consumeBy('patterns-consumer', [object])))
      break
    case 'broadcast': {
      const object = { handle: await putObject({ transport, stamp: stamps[0]! }, own[0]!, degree), stamp: stamps[0]!, instance }
      handles.push(object)
      consumed = await Promise.all(Array.from({ length: degree }, () => consumeBy('patterns-consumer', [object])))
      break
    }
  }
  const ms = Math.max(...consumed.map(({ readAtMs }) => readAtMs)) - beganMs
  if (isStorageName(transport)) await Promise.all(handles.map(({ handle }) => storageNamed(transport).remove(handle)))
  if (reading === 'summed') {
    const expected = crc32(bufferOf(bytes, 0).subarray(8))
    if (!consumed.every(({ sums }) => sums.every((sum) => sum === expected))) throw new Error(`A consumer read other bytes than were put: ${JSON.stringify(consumed)}`)
  }
  return { ms, instances: new Set([...handles, ...consumed].map((one) => one.instance)).size - (pattern === 'gather' ? 0 : 1) }
}

async function putObject({ transport, stamp }: Pick<Produce, 'transport' | 'stamp'>, object: Buffer, retrievals: number): Promise<string> {
  object.writeDoubleLE(stamp, 0)
  if (!isStorageName(transport)) return await put(object, { retrievals })
  const key = `patterns/${stamp}`
  await storageNamed(transport).put(key, object)
  return key
}

async function consume({ transport, reading, objects }: Consume): Promise<Consumed> {
  const all = await Promise.all(objects.map(async ({ handle, stamp }) => {
    const object = isStorageName(transport) ? await storageNamed(transport).get(handle) : await get(handle)
    const read = new DataView(object.buffer, object.byteOffset).getFloat64(0, true)
    if (read !== stamp || object[object.length - 1] !== last(object.length)) throw new Error(`The object of ${stamp} begins with ${read} and ends with ${object[object.length - 1]}.`)
    return object
  }))
  const sums = reading === 'summed' ? all.map((object) => crc32(object.subarray(8))) : []
  return { instance: context().instance, readAtMs: now(), sums }
}

/** An ordinary one that outlives the invocation; with `index` for so many at a time. */
function bufferOf(bytes: number, index: number): Buffer {
  const key = `${bytes} ${index}`
  let buffer = buffers.get(key)
  if (buffer === undefined) {
    buffer = Buffer.allocUnsafeSlow(bytes).fill('Bytes that are not all the same, and of which no reader knows how many are the same. ')
    buffer[bytes - 1] = last(bytes)
    buffers.set(key, buffer)
  }
  return buffer
}

function last(bytes: number): number {
  return bytes % 251
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
