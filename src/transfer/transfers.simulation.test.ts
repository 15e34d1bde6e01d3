/**
 * Goal: whatever producers, consumers, broken retrievals, full disks, ends of instances and expiries come together, counts are exact, no byte and no
 * descriptor leaks, nobody gets an empty or partial object, and nobody who waits is forgotten, not even producers that wait for each other.
 *
 * Method: two workers in simulated time, run by one seed. Bodies are real; they are written at once, so that a seed repeats a run. Every put and get is
 * compared with a model that knows what was put, how often it may be had, and until when. A failure prints `SEED=…`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import { PlatformError } from '#contract/errors.ts'
import type { HeldBody } from '#contract/held-body.ts'
import type { Retrieval } from './retrieval.ts'
import type { BodyMaker, NewBody } from './spill.ts'
import { collect, content, producer, readAll, settle, testGround, until, wireBetween } from './transfer.fake.ts'
import type { TestGround } from './transfer.fake.ts'
import { Transfers } from './transfers.ts'

interface Put {
  readonly reference: string
  readonly seed: number
  readonly bytes: number
  readonly retrievals: number
  readonly expiresAtMs: number
  done: number
}

const KB = 1024
const MEMORY_BYTES = 300 * KB
const FILE_BYTES = 300 * KB
const ROOM_WAIT_MS = 2000
const STEPS = 1500

class World {
  readonly #ground: TestGround
  readonly #random: () => number
  readonly #workers = new Map<string, Transfers>()
  readonly #puts: Put[] = []
  readonly #open = new Set<Promise<void>>()
  readonly #errors = new Map<string, number>()
  readonly #streams
  #diskFails = false
  #instance = 0
  #got = 0

  constructor(context: TestContext, seed: number) {
    this.#ground = testGround(context, seed)
    this.#random = seededRandom(seed)
    const wire = wireBetween(this.#workers)
    this.#streams = wire.streams
    const { memory, files } = this.#ground
    const places = { memory: atOnce(memory), files: atOnce(files, () => this.#diskFails) }
    const config = { memoryBytesMax: MEMORY_BYTES, fileBytesMax: FILE_BYTES, namespaceBytesMax: 450 * KB, roomWaitMs: ROOM_WAIT_MS, streamMemoryBytesMax: 100 * KB, descriptorsMax: 40, instanceShare: 0.5 }
    for (const worker of ['w1', 'w2']) this.#workers.set(worker, this.#ground.transfers(config, { worker, places, peers: wire.peers }))
  }

  async run(): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      const kind = this.#random()
      if (kind < 0.35) this.#track(this.#put())
      else if (kind < 0.75) this.#track(this.#get())
      else if (kind < 0.85) this.#ground.clock.advance(Math.floor(this.#random() * 400))
      else if (kind < 0.88) for (const transfers of this.#workers.values()) transfers.instanceEnded(`i${this.#instance++}`)
      else if (kind < 0.9) this.#diskFails = !this.#diskFails
      else if (kind < 0.93) this.#streams.at(-1)?.destroy(new PlatformError('TRANSFER_BROKEN', 'The simulated wire broke.'))
      else await settle()
      this.#check()
    }
    this.#diskFails = false
    // Nobody waits for longer than for room and a retrieval's end; what is left of the objects expires.
    for (let turn = 0; this.#open.size > 0; turn++) {
      assert(turn < 200, `${this.#open.size} producers and consumers wait for ever`)
      await settle()
      this.#ground.clock.advance(ROOM_WAIT_MS / 4)
    }
    this.#ground.clock.advance(60_000)
    // What was dropped while it was moved goes when the disk has answered.
    await until(() => this.#ground.descriptors() === 0)
    await settle()
    for (const transfers of this.#workers.values()) {
      const { objects, leases, memoryBytes, fileBytes, descriptors, waiting, flights } = transfers.usage()
      assert.deepEqual([objects, leases, memoryBytes, fileBytes, descriptors, waiting, flights], [0, 0, 0, 0, 0, 0, 0])
    }
    // Something happened, and each kind of it.
    assert(this.#puts.length > 100 && this.#got > 100, `${this.#puts.length} puts, ${this.#got} retrievals`)
    for (const code of ['OBJECT_USED_UP', 'OBJECT_EXPIRED', 'OBJECT_QUOTA_EXCEEDED', 'CANCELLED']) assert((this.#errors.get(code) ?? 0) > 0, `no ${code}: ${[...this.#errors].join(' ')}`)
  }

  async #put(): Promise<void> {
    const of = producer({ instance: `i${this.#instance + this.#below(3)}`, namespace: `n${this.#below(2)}`, memoryMb: 0.3 })
    const seed = this.#below(256)
    const bytes = this.#below(this.#random() < 0.3 ? 20 : 140 * KB)
    const retrievals = 1 + this.#below(3)
    const ttlMs = 1 + this.#below(5000)
    const whole = content(bytes, seed)
    const transfers = this.#worker()
    const breaks = this.#random() < 0.2
    const terms = { n: retrievals, t: ttlMs, ordinal: 0 }
    const options = this.#mayGiveUp()
    try {
      const now = breaks || this.#random() < 0.5 ? undefined : transfers.putNow(of, whole, terms)
      const reference = now ?? (this.#random() < 0.5 ? await transfers.put(of, this.#ground.body(whole), terms, options) : await transfers.putStream(of, cut(whole, 1 + this.#below(50 * KB), breaks), terms, options))
      this.#puts.push({ reference: `${of.namespace} ${reference}`, seed, bytes, retrievals, expiresAtMs: this.#ground.clock.epochMs() + ttlMs, done: 0 })
    } catch (error) {
      this.#expect(error, ['OBJECT_QUOTA_EXCEEDED', 'STORE_FULL', 'CANCELLED', ...(breaks ? ['TRANSFER_BROKEN'] : [])])
    }
  }

  async #get(): Promise<void> {
    // Mostly recent ones: the others are over.
    const put = this.#puts[this.#puts.length - 1 - this.#below(Math.min(this.#puts.length, 12))]
    if (put === undefined) return
    const [namespace, reference] = put.reference.split(' ') as [string, string]
    const transfers = this.#worker()
    let got: Retrieval
    try {
      const now = this.#random() < 0.5 ? transfers.getNow(namespace, reference) : undefined
      if (now !== undefined) {
        assert(now.equals(content(put.bytes, put.seed)), 'not what was put')
        assert(this.#ground.clock.epochMs() < put.expiresAtMs, 'expired')
        return this.#count(put)
      }
      got = await transfers.get(namespace, reference, { asStream: this.#random() < 0.3, ...this.#mayGiveUp() })
    } catch (error) {
      const code = this.#expect(error, ['OBJECT_USED_UP', 'OBJECT_EXPIRED', 'OBJECT_QUOTA_EXCEEDED', 'STORE_FULL', 'TRANSFER_BROKEN', 'CANCELLED'])
      if (code === 'OBJECT_USED_UP') assert.equal(put.done, put.retrievals, 'not used up')
      if (code === 'OBJECT_EXPIRED') assert(this.#ground.clock.epochMs() >= put.expiresAtMs, 'not expired')
      return
    }
    assert.equal(got.bytes, put.bytes)
    // Held for a while, so that retrievals overlap.
    for (let turns = this.#below(4); turns > 0; turns--) await settle()
    try {
      const bytes = got.as === 'body' ? readAll(got.body as HeldBody) : await collect(got.body)
      assert(bytes.equals(content(put.bytes, put.seed)), 'not what was put')
    } catch (error) {
      this.#expect(error, ['TRANSFER_BROKEN'])
      return got.failed()
    }
    if (this.#random() < 0.3) return got.failed()
    this.#count(put)
    got.done()
  }

  #count(put: Put): void {
    put.done++
    this.#got++
    assert(put.done <= put.retrievals, 'retrieved more often than it was put for')
  }

  #check(): void {
    for (const transfers of this.#workers.values()) {
      const { memoryBytes, fileBytes } = transfers.usage()
      assert(memoryBytes <= MEMORY_BYTES && fileBytes <= FILE_BYTES, `${memoryBytes} bytes in memory, ${fileBytes} in files`)
    }
  }

  #expect(error: unknown, codes: readonly string[]): string {
    if (!(error instanceof PlatformError)) throw error
    assert(codes.includes(error.code), `${error.code}: ${error.message}`)
    this.#errors.set(error.code, (this.#errors.get(error.code) ?? 0) + 1)
    return error.code
  }

  #mayGiveUp(): { readonly signal?: AbortSignal } {
    if (this.#random() < 0.8) return {}
    const abort = new AbortController()
    this.#ground.clock.after(this.#below(1000), () => abort.abort())
    return { signal: abort.signal }
  }

  #track(one: Promise<void>): void {
    const tracked = one.finally(() => this.#open.delete(tracked))
    this.#open.add(tracked)
    // The run ends with the first that is not as it must be.
    tracked.catch((error: unknown) => (this.#failed ??= error))
    if (this.#failed !== undefined) throw this.#failed
  }

  #failed: unknown

  #worker(): Transfers {
    return this.#workers.get(this.#random() < 0.5 ? 'w1' : 'w2')!
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count)
  }
}

/** Without threads: the order of what happens is the seed's. */
function atOnce(maker: BodyMaker, fails = (): boolean => false): BodyMaker {
  return {
    place: maker.place,
    create(): NewBody {
      const body = maker.create()
      return {
        place: maker.place,
        get bytes() {
          return body.bytes
        },
        async write(chunk) {
          await Promise.resolve()
          if (fails()) throw new PlatformError('STORE_FULL', 'The simulated disk is full.')
          body.writeNow(chunk)
        },
        writeNow: (chunk) => body.writeNow(chunk),
        finish: () => body.finish(),
        discard: () => body.discard(),
      }
    },
  }
}

async function* cut(whole: Buffer, bytes: number, breaks: boolean): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < whole.length; offset += bytes) {
    if (breaks && offset > whole.length / 2) throw new PlatformError('TRANSFER_BROKEN', 'The simulated source broke.')
    yield whole.subarray(offset, offset + bytes)
  }
}

const seed = seedFromEnvironment()
for (const offset of [0, 1, 2, 3]) {
  test(`counts are exact and nothing leaks (SEED=${seed + offset})`, { timeout: 60_000 }, async (context) => {
    await new World(context, seed + offset).run()
  })
}
