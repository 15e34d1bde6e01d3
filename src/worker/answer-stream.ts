/** A body that has to become chunks on the way to a sink, as fast as the sink consumes them. */
import type { Readable } from 'node:stream'
import { PlatformError } from '#contract/errors.ts'
import type { AnswerSink } from '#contract/invocation.ts'
import { recycle } from '#transfer/remote/pieces.ts'

const NO_BYTES = Buffer.alloc(0)

/**
 * Sends all of it after the head, one chunk at a time. `source.destroy()` stops it, and the sink then hears nothing more.
 * @param sink Has no chunk any more when it says `consumed`: those of a peer's stream are filled again.
 * @param settled Once: everything was consumed, or not.
 */
export function sendStream(source: Readable, sink: Pick<AnswerSink, 'data' | 'fail'>, settled: (complete: boolean) => void): void {
  let isComplete = false
  source.on('data', (chunk: Buffer) => {
    source.pause()
    sink.data(chunk, false, () => {
      recycle(chunk)
      source.resume()
    })
  })
  source.once('end', () => {
    isComplete = true
    sink.data(NO_BYTES, true, () => {})
  })
  source.once('error', (error) => sink.fail(PlatformError.from(error)))
  source.once('close', () => settled(isComplete))
}
