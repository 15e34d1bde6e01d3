/** Trainer: trains one model on the whole dataset, and predicts each sample by models that have not seen it. */
import { bytesOf } from '../transports/message.ts'
import { InputError, serve } from '../transports/task.ts'
import { unpackDataset } from './dataset.ts'
import { areaUnderCurve, crossPredict, fit, learnerOf, packModel } from './models.ts'
import type { Training } from './models.ts'

export default serve<{ readonly training: Training }>('stacking-trainer', async (task) => {
  const [handle] = task.objects
  if (handle === undefined) throw new InputError('There is no dataset to train on: it is called by stacking-driver.')
  const data = unpackDataset(await task.get(handle))
  const learn = learnerOf(task.fields.training, data)
  const predicted = crossPredict(learn, data)
  const model = packModel(fit(learn, data), (bytes) => task.allocate(bytes))
  return { fields: { score: areaUnderCurve(data.y, predicted) }, objects: await Promise.all([task.put(model), task.put(bytesOf(predicted))]) }
})
