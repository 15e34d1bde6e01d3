/** Object recogniser: makes a frame as small as the network wants it, and says what it shows. */
import { InputError, serve } from '../transports/task.ts'
import { recognise } from './recognise.ts'
import type { Recognition } from './recognise.ts'

export interface Recognised extends Recognition {
  readonly frame: number
}

export default serve<{ readonly frame: number; readonly width: number; readonly height: number }>('video-recogniser', async (task) => {
  const [handle] = task.objects
  if (handle === undefined) throw new InputError('There is no frame to recognise: it is called by video-decoder.')
  return { fields: { frame: task.fields.frame, ...recognise(await task.get(handle), task.fields) } satisfies Recognised }
})
