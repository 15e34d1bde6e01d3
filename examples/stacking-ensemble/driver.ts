/**
 * Driver of stacking ensemble training: broadcasts a dataset to the trainers, has what they learned gathered, and the second level trained on it.
 *
 * Call it with `{"transport": "xdt"}`; further fields make it smaller, for tests: samples, features, trainers, seed.
 */
import { createHash } from 'node:crypto'
import { report } from '../transports/report.ts'
import type { RunReport } from '../transports/report.ts'
import type { Handle } from '../transports/message.ts'
import { checkWholeNumbers, serve } from '../transports/task.ts'
import { generateDataset, packDataset } from './dataset.ts'
import type { Training } from './models.ts'

export interface StackingRequest {
  readonly samples?: number
  readonly features?: number
  readonly trainers?: number
  readonly seed?: number
}

export interface StackingResult {
  /** Area under the ROC curve of the whole ensemble, and of each trainer's model. */
  readonly score: number
  readonly scores: readonly number[]
  readonly modelBytes: number
  /** Of the final model and its predictions, SHA-256. */
  readonly digest: string
}

export type StackingReport = RunReport<StackingResult>

/** What the trainers train, one after the other and from the front again: the four algorithms, each with four settings. */
export const trainings: readonly Training[] = [0, 1, 2, 3].flatMap((setting) => [
  { kind: 'linear-svr', cost: [0.01, 0.1, 1, 10][setting]! },
  { kind: 'lasso', alpha: [0.02, 0.03, 0.04, 0.05][setting]! },
  { kind: 'knn', neighbours: [5, 10, 20, 40][setting]! },
  { kind: 'forest', trees: 2, depth: setting + 1 },
])

let dataset: { readonly key: string; readonly bytes: Buffer } | undefined

export default serve<StackingRequest>('stacking-driver', async (task) => {
  const { samples = 300, features = 1024, trainers = trainings.length, seed = 42 } = task.fields
  checkWholeNumbers({ samples, features, trainers, seed })
  const key = [samples, features, seed].join()
  if (dataset?.key !== key) dataset = { key, bytes: packDataset(generateDataset(samples, features, seed)) }

  // The trainers get it, and the meta-trainer.
  const data = await task.put(dataset.bytes, trainers + 1)
  const chosen = Array.from({ length: trainers }, (_, index) => trainings[index % trainings.length]!)
  const trained = await Promise.all(chosen.map((training) => task.call<{ score: number }>('stacking-trainer', { training }, [data])))
  const gathered = await task.call('stacking-reducer', {}, trained.flatMap(({ objects }) => objects))
  const final = await task.call<{ score: number }>('stacking-meta-trainer', {}, [data, ...gathered.objects])
  const [model, predictions] = (await Promise.all((final.objects as readonly [Handle, Handle]).map((one) => task.get(one)))) as [Uint8Array, Uint8Array]
  const result = (): StackingResult => ({ score: final.fields.score, scores: trained.map(({ fields }) => fields.score), modelBytes: model.length, digest: digestOf(model, predictions) })
  return { fields: await report(task, result) }
})

function digestOf(...objects: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const one of objects) hash.update(one)
  return hash.digest('hex')
}
