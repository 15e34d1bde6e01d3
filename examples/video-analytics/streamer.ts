/**
 * Video streamer: holds a fragment of video in memory, hands it to the decoder, and answers with what was recognised.
 *
 * Call it with `{"transport": "xdt"}`; further fields make another film, for tests: width, height, frames, every, seed.
 */
import { report } from '../transports/report.ts'
import type { RunReport } from '../transports/report.ts'
import { checkWholeNumbers, serve } from '../transports/task.ts'
import { encodeFragment } from './fragment.ts'
import { filmLabels, paintFilm } from './scene.ts'
import type { FilmSettings } from './scene.ts'
import type { Recognised } from './recogniser.ts'

export interface VideoRequest {
  readonly width?: number
  readonly height?: number
  readonly frames?: number
  /** Every how many frames one is recognised. */
  readonly every?: number
  readonly seed?: number
}

export interface VideoResult {
  readonly recognised: readonly Recognised[]
  /** How many are what the film shows. */
  readonly right: number
  readonly fragmentBytes: number
}

export type VideoReport = RunReport<VideoResult>

const FPS = 30

let film: { readonly key: string; readonly fragment: Buffer } | undefined

export default serve<VideoRequest>('video-streamer', async (task) => {
  const { width = 1920, height = 1080, frames = 60, every = 5, seed = 5 } = task.fields
  checkWholeNumbers({ width, height, frames, every, seed })
  const settings: FilmSettings = { width, height, frames, framesPerObject: 2 * every, seed }
  const key = JSON.stringify(settings)
  if (film?.key !== key) film = { key, fragment: encodeFragment({ width, height, fps: FPS }, paintFilm(settings)) }
  const { fragment } = film

  const handle = await task.put(fragment)
  const answer = await task.call<{ recognised: readonly Recognised[] }>('video-decoder', { every }, [handle])
  const { recognised } = answer.fields
  const result = (): VideoResult => {
    const shown = filmLabels(settings)
    return { recognised, right: recognised.filter(({ frame, label }) => shown[frame] === label).length, fragmentBytes: fragment.length }
  }
  return { fields: await report(task, result) }
})
