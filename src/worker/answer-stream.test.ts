/**
 * Goal: a stream goes to its sink whole, one chunk at a time, and a peer's piece is filled again when the sink has had it, and not before.
 * Method: a stream of pieces, each filled anew, as a peer's is; a sink that holds each chunk back for some turns of the loop before it is through with it.
 */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { PIECE_BYTES, takePiece } from '#transfer/remote/pieces.ts'
import { sendStream } from './answer-stream.ts'

const PIECES = 40

test('sends all of a peer\'s stream, whose pieces come again once they are consumed', { timeout: 10_000 }, async () => {
  const taken = new Set<Buffer>()
  let filled = 0
  const source = new Readable({
    highWaterMark: 2 * PIECE_BYTES,
    read() {
      if (filled === PIECES) return void this.push(null)
      const piece = takePiece()
      taken.add(piece)
      this.push(piece.fill(filled++))
    },
  })
  const got: number[] = []
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const data = (chunk: Buffer, last: boolean, consumed: () => void): void => {
    const hold = (turns: number): void => {
      if (turns > 0) return void setImmediate(() => hold(turns - 1))
      // Still what it was when it came.
      if (chunk.every((byte) => byte === chunk[0])) got.push(chunk[0]!)
      consumed()
      if (got.length === PIECES) resolve()
    }
    if (!last) hold(3)
  }
  sendStream(source, { data, fail: reject }, (complete) => {
    if (!complete) reject(new Error('it broke off'))
  })
  await promise
  assert.deepEqual(got, Array.from({ length: PIECES }, (_, index) => index))
  assert.ok(taken.size <= 5, `${taken.size} pieces for ${PIECES}`)
})
