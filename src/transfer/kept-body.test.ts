/**
 * Goal: whoever reads a body reads all of it, wherever it is moved meanwhile, and what it takes is accounted for until nobody reads it.
 *
 * Method: real bodies that are opened, moved and dropped in every order that matters; descriptors and bytes are counted.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { mountSmallDisk } from '#store/small-disk.ts'
import { KeptBody, pack, PACKED_BYTES_MAX } from './kept-body.ts'
import type { Places } from './kept-body.ts'
import { Ledger } from './ledger.ts'
import { Room } from './room.ts'
import { fileBodies } from './spill.ts'
import { content, readAll, testGround, withCode } from './transfer.fake.ts'

const BYTES = 100_000

function bodyGround(context: TestContext, places?: Partial<Places>) {
  const ground = testGround(context)
  const ledger = new Ledger({ memoryBytesMax: 1e9, fileBytesMax: 1e9, bodiesMax: 1000, descriptorsMax: 1000, namespaceBytesMax: () => 1e9 })
  const room = new Room({ ledger, clock: ground.clock, waitMs: 1000, spill: () => assert.fail('there is room') })
  const account = ledger.instanceAccount('n', 'i', 1e9)
  const where: Places = { memory: ground.memory, files: ground.files, ...places }
  return {
    ...ground,
    ledger,
    keep: () => new KeptBody(ground.body(content(BYTES)), ledger.charge(account, 'memory', BYTES, 1), room, where),
    keepPacked: (bytes: Buffer) => new KeptBody(bytes, ledger.charge(account, 'memory', bytes.length, 0), room, where),
    chargeFile: () => ledger.charge(account, 'file', BYTES, 1),
    sums: () => [ledger.memoryBytes, ledger.fileBytes, ledger.descriptors, ground.descriptors()],
  }
}

describe('KeptBody', () => {
  test('moves to a file and gives its memory back; it reads the same', async (context) => {
    const { keep, chargeFile, sums, ledger } = bodyGround(context)
    const kept = keep()
    assert.deepEqual([...ledger.spillable], [kept])
    await kept.spill(chargeFile())
    assert.deepEqual(sums(), [0, BYTES, 1, 1])
    assert.deepEqual([...ledger.spillable], [])
    const opened = kept.open()
    assert.deepEqual([opened.place, readAll(opened.body)], ['file', content(BYTES)])
    opened.close()
    kept.drop()
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('who reads it while it moves reads on, and its memory is accounted for until then (B1)', async (context) => {
    const { keep, chargeFile, sums } = bodyGround(context)
    const kept = keep()
    const moving = kept.spill(chargeFile())
    const opened = kept.open()
    assert.equal(kept.isIdle, false)
    await moving
    assert.deepEqual(sums(), [BYTES, BYTES, 2, 2])
    assert.deepEqual([opened.place, readAll(opened.body)], ['memory', content(BYTES)])
    opened.close()
    assert.deepEqual(sums(), [0, BYTES, 1, 1])
    kept.drop()
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('dropped while it moves, it leaves nothing (B1)', async (context) => {
    const { keep, chargeFile, sums } = bodyGround(context)
    const kept = keep()
    const moving = kept.spill(chargeFile())
    kept.drop()
    await moving
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('dropped while it is read, it goes with its last reader (B1)', (context) => {
    const { keep, sums } = bodyGround(context)
    const kept = keep()
    const [one, two] = [kept.open(), kept.open()]
    kept.drop()
    one.close()
    assert.deepEqual(sums(), [BYTES, 0, 1, 1])
    assert.deepEqual(readAll(two.body), content(BYTES))
    two.close()
    assert.deepEqual(sums(), [0, 0, 0, 0])
  })

  test('stays in memory, and can be moved later, when the disk is full (B2)', async (context) => {
    const disk = mountSmallDisk(64 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a tmpfs')
    try {
      const { keep, chargeFile, sums, ledger } = bodyGround(context, { files: fileBodies(disk.path) })
      const kept = keep()
      await assert.rejects(kept.spill(chargeFile()), withCode('STORE_FULL'))
      assert.deepEqual(sums(), [BYTES, 0, 1, 1])
      assert.deepEqual([...ledger.spillable], [kept])
      const opened = kept.open()
      assert.deepEqual(readAll(opened.body), content(BYTES))
      opened.close()
      kept.drop()
      assert.deepEqual(sums(), [0, 0, 0, 0])
    } finally {
      disk.unmount()
    }
  })

  for (const bytes of [0, 1, PACKED_BYTES_MAX]) {
    test(`${bytes} bytes take no descriptor but while they are read, and then one for all readers`, (context) => {
      const { keepPacked, body, sums } = bodyGround(context)
      const kept = keepPacked(pack(body(content(bytes))))
      assert.deepEqual(sums(), [bytes, 0, 0, 0])
      const [one, two] = [kept.open(), kept.open()]
      assert.deepEqual(sums(), [bytes, 0, 0, 1])
      assert.deepEqual([readAll(one.body), readAll(two.body)], [content(bytes), content(bytes)])
      one.close()
      kept.drop()
      two.close()
      assert.deepEqual(sums(), [0, 0, 0, 0])
    })
  }
})
