/**
 * Goal: a stream becomes exactly its bytes, where there is room for them, and one that does not come to its end leaves nothing.
 *
 * Method: generated chunks; sources that break, hang and lie at every point; bytes, charges and descriptors are counted.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { mountSmallDisk } from '#store/small-disk.ts'
import type { KeptBody, Places } from './kept-body.ts'
import { Ledger } from './ledger.ts'
import type { LedgerLimits } from './ledger.ts'
import { receive } from './receive.ts'
import type { Reception } from './receive.ts'
import { PIECE_BYTES, takePiece } from './remote/pieces.ts'
import { Room } from './room.ts'
import { fileBodies } from './spill.ts'
import { content, readAll, settle, testGround, until, withCode } from './transfer.fake.ts'

function receptionGround(context: TestContext, limits: Partial<LedgerLimits> = {}, places?: Partial<Places>) {
  const ground = testGround(context)
  const ledger = new Ledger({ memoryBytesMax: 1e9, fileBytesMax: 1e9, bodiesMax: 1000, descriptorsMax: 1000, namespaceBytesMax: () => 1e9, ...limits })
  const room = new Room({ ledger, clock: ground.clock, waitMs: 1000, spill: () => assert.fail('nothing to move') })
  const account = ledger.instanceAccount('n', 'i', 1e9)
  return {
    ...ground,
    ledger,
    room,
    account,
    receive: (source: AsyncIterable<Uint8Array>, more: Partial<Reception> = {}) =>
      receive({ source, account, room, places: { memory: ground.memory, files: ground.files, ...places }, memoryBytesMax: 1e9, ...more }),
    sums: () => [ledger.memoryBytes, ledger.fileBytes, ledger.bodies, ground.descriptors()],
  }
}

function cut(whole: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let offset = 0
  for (const size of sizes) chunks.push(whole.subarray(offset, (offset += size)))
  return chunks
}

async function* from(chunks: Iterable<Uint8Array>, end?: Error): AsyncGenerator<Uint8Array> {
  yield* chunks
  if (end !== undefined) throw end
}

function check(kept: KeptBody, expected: Buffer, place: string): void {
  const opened = kept.open()
  assert.deepEqual(readAll(opened.body), expected)
  assert.equal(kept.place, place)
  opened.close()
  kept.drop()
}

describe('receive', () => {
  test('makes exactly the bytes of the stream, however it is cut, and charges for exactly these', async (context) => {
    const { receive, sums } = receptionGround(context)
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(fc.nat(50), fc.nat(40_000)), { maxLength: 12 }), fc.boolean(), fc.constantFrom(1e9, 60_000), async (sizes, known, memoryBytesMax) => {
        const whole = content(sizes.reduce((sum, size) => sum + size, 0))
        const kept = await receive(from(cut(whole, sizes)), { memoryBytesMax, ...(known && { bytes: whole.length }) })
        const place = whole.length > memoryBytesMax ? 'file' : 'memory'
        assert.deepEqual(sums().slice(0, 3), place === 'file' ? [0, whole.length, 1] : [whole.length, 0, 1])
        check(kept, whole, kept.place)
        assert.deepEqual(sums(), [0, 0, 0, 0])
      }),
      { numRuns: 60 },
    )
  })

  for (const place of ['memory', 'file'] as const) {
    test(`gives the pieces of a peer back when they are in ${place} (V2)`, async (context) => {
      const { receive } = receptionGround(context)
      const whole = content(20 * PIECE_BYTES)
      const pieces = new Set<Buffer>()
      const source = (async function* () {
        for (let offset = 0; offset < whole.length; offset += PIECE_BYTES) {
          const piece = takePiece()
          pieces.add(piece)
          whole.copy(piece, 0, offset)
          yield piece
        }
      })()
      check(await receive(source, place === 'file' ? { memoryBytesMax: 100_000 } : {}), whole, place)
      assert.equal(pieces.size, 1)
    })
  }

  test('lets others of the event loop have their turn, however quickly the source gives (V3)', async (context) => {
    const { receive } = receptionGround(context)
    const chunk = content(64 * 1024)
    let turns = 0
    const count = (): void => {
      turns++
      next = setImmediate(count)
    }
    let next = setImmediate(count)
    const kept = await receive(from(new Array<Uint8Array>(320).fill(chunk)))
    clearImmediate(next)
    kept.drop()
    assert.ok(turns >= 9, `${turns} turns for 20 MB`)
  })

  test('goes on in a file when memory has no more room, with all that had come', async (context) => {
    const { receive, sums } = receptionGround(context, { memoryBytesMax: 100_000 })
    const whole = content(1_000_000)
    const kept = await receive(from(cut(whole, new Array<number>(10).fill(100_000))))
    assert.deepEqual(sums(), [0, 1_000_000, 1, 1])
    check(kept, whole, 'file')
  })

  test('goes to a file from the beginning where memory cannot be sealed', async (context) => {
    const { receive, sums } = receptionGround(context, {}, { memory: undefined })
    const kept = await receive(from([content(100_000)]))
    assert.deepEqual(sums(), [0, 100_000, 1, 1])
    check(kept, content(100_000), 'file')
  })

  test('does not read on while there is no room, and goes on when there is', async (context) => {
    const { receive, sums, room, ledger, account } = receptionGround(context, { memoryBytesMax: 100_000, fileBytesMax: 0 })
    const held = ledger.charge(account, 'memory', 60_000, 1)
    let given = 0
    const source = (async function* () {
      for (const chunk of cut(content(90_000), [30_000, 30_000, 30_000])) {
        given++
        yield chunk
      }
    })()
    const receiving = receive(source)
    await until(() => room.waiting === 1)
    assert.equal(given, 2)
    room.release(held)
    check(await receiving, content(90_000), 'memory')
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  for (const sizes of [[], [100], [100_000], [10_000, 10_000, 300_000]]) {
    test(`a source that breaks after [${sizes.join(', ')}] bytes leaves nothing (V1)`, async (context) => {
      const { receive, sums } = receptionGround(context, { memoryBytesMax: 200_000 })
      const chunks = cut(content(320_000), sizes)
      await assert.rejects(receive(from(chunks, new Error('it broke'))), { message: 'it broke' })
      assert.deepEqual(sums(), [0, 0, 0, 0])
    })

    test(`a source that hangs after [${sizes.join(', ')}] bytes can be given up, and leaves nothing (V1)`, async (context) => {
      const { receive, sums } = receptionGround(context, { memoryBytesMax: 200_000 })
      const abort = new AbortController()
      const source = (async function* () {
        yield* cut(content(320_000), sizes)
        await new Promise(() => {})
      })()
      const receiving = receive(source, { signal: abort.signal })
      await settle()
      abort.abort()
      await assert.rejects(receiving, withCode('CANCELLED'))
      assert.deepEqual(sums(), [0, 0, 0, 0])
    })
  }

  test('a source of another length than it said is TRANSFER_BROKEN, and leaves nothing (V1)', async (context) => {
    const { receive, sums } = receptionGround(context)
    for (const said of [0, 9, 11, 99_999, 100_001]) {
      for (const bytes of [10, 100_000]) await assert.rejects(receive(from([content(bytes)]), { bytes: said }), withCode('TRANSFER_BROKEN'))
    }
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('a stream that breaks while its room is waited for is an error when there is room (V1)', async (context) => {
    const { receive, sums, room, ledger, account } = receptionGround(context, { memoryBytesMax: 100_000, fileBytesMax: 0 })
    const held = ledger.charge(account, 'memory', 100_000, 1)
    const source = Readable.from([content(50_000)])
    const receiving = receive(source, { bytes: 50_000 })
    source.destroy(new Error('it broke'))
    await settle()
    room.release(held)
    await assert.rejects(receiving, { message: 'it broke' })
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('lets the source go when it fails itself', async (context) => {
    const { receive, sums } = receptionGround(context, { memoryBytesMax: 50_000, fileBytesMax: 50_000 })
    const source = Readable.from(cut(content(90_000), [30_000, 30_000, 30_000]))
    await assert.rejects(receive(source), withCode('OBJECT_QUOTA_EXCEEDED'))
    await settle()
    assert.equal(source.destroyed, true)
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('a full disk is STORE_FULL, and leaves nothing; memory is used from then on', async (context) => {
    const disk = mountSmallDisk(256 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a tmpfs')
    try {
      const { receive, sums } = receptionGround(context, {}, { files: fileBodies(disk.path) })
      await assert.rejects(receive(from(cut(content(600_000), [300_000, 300_000])), { memoryBytesMax: 100_000 }), withCode('STORE_FULL'))
      assert.deepEqual(sums(), [0, 0, 0, 0])
      check(await receive(from([content(600_000)]), { memoryBytesMax: 100_000 }), content(600_000), 'memory')
    } finally {
      disk.unmount()
    }
  })
})
