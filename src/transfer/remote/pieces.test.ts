/**
 * Goal: a piece is never with two (Q1), and a stream whose pieces are given back at once is as whole as any other.
 * Method: pieces by hand; then transfers whose consumers keep, give back, and mix both.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { PIECE_BYTES, recycle, takePiece } from './pieces.ts'
import { collect, someBytes, startEnds } from './remote.fake.ts'

describe('pieces', () => {
  it('come again when they were given back, once (Q1)', () => {
    const piece = takePiece()
    recycle(piece)
    recycle(piece)
    assert.equal(takePiece(), piece)
    assert.notEqual(takePiece(), piece)
  })

  it('are not made of parts, nor of others\' buffers (Q1)', () => {
    const piece = takePiece()
    const foreign = Buffer.alloc(PIECE_BYTES)
    for (const other of [piece.subarray(0, 10), piece.subarray(1), foreign, Buffer.alloc(0)]) recycle(other)
    const next = takePiece()
    assert.ok(next.buffer !== piece.buffer && next.buffer !== foreign.buffer)
  })

  it('hold the right bytes for consumers that give back and for those that keep, side by side', async () => {
    const [first, second] = await startEnds(['producer', 'consumer'], { windowBytes: 256 * 1024 })
    await using producer = first!
    await using consumer = second!
    const bytes = someBytes(3_000_001)
    producer.objects.put('o', bytes)
    const digest = createHash('sha256').update(bytes).digest('hex')
    const get = async (keeps: boolean): Promise<string> => {
      const pull = await consumer.client.pull('producer', 'o')
      const hash = createHash('sha256')
      if (keeps) return hash.update(await collect(pull.stream)).digest('hex')
      for await (const piece of pull.stream) {
        hash.update(piece as Buffer)
        recycle(piece as Buffer)
      }
      return hash.digest('hex')
    }
    assert.deepEqual(new Set(await Promise.all([true, false, false, true, false, false, true, false].map(get))), new Set([digest]))
  })
})
