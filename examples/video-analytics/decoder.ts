/** Frame decoder: decodes all frames of a fragment, and has every fifth one recognised, all at once. */
import { InputError, serve } from '../transports/task.ts'
import { decodeFrames, readHead } from './fragment.ts'
import type { Recognised } from './recogniser.ts'

export default serve<{ readonly every: number }>('video-decoder', async (task) => {
  const [handle] = task.objects
  if (handle === undefined) throw new InputError('There is no fragment to decode: it is called by video-streamer.')
  const fragment = await task.get(handle)
  const { width, height } = readHead(fragment)
  const chosen: { readonly frame: number; readonly bytes: Uint8Array }[] = []
  let frame = 0
  for (const decoded of decodeFrames(fragment)) {
    if (frame % task.fields.every === 0) {
      const bytes = task.allocate(decoded.length)
      bytes.set(decoded)
      chosen.push({ frame, bytes })
    }
    frame++
  }
  const recognised = await Promise.all(
    chosen.map(async ({ frame, bytes }) => {
      const answer = await task.call<Recognised>('video-recogniser', { frame, width, height }, [await task.put(bytes)])
      return answer.fields
    }),
  )
  return { fields: { recognised } }
})
