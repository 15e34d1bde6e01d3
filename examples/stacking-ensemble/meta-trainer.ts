/** Meta-trainer: learns how much to believe each of the models, and puts all of them together. */
import { bytesOf, decodeMessage, encodeMessage } from '../transports/message.ts'
import type { Handle } from '../transports/message.ts'
import { InputError, serve } from '../transports/task.ts'
import { unpackDataset } from './dataset.ts'
import { areaUnderCurve, crossPredict, fit, learnerOf, packModel } from './models.ts'

export default serve('stacking-meta-trainer', async (task) => {
  if (task.objects.length !== 3) throw new InputError(`${task.objects.length} objects are not a dataset, models and their predictions: it is called by stacking-driver.`)
  const [data, joint, gathered] = await Promise.all((task.objects as readonly [Handle, Handle, Handle]).map((handle) => task.get(handle)))
  const { y } = unpackDataset(data!)
  const features = { ...unpackDataset(gathered!), y }
  const learn = learnerOf({ kind: 'logistic' }, features)
  const predicted = crossPredict(learn, features)
  const meta = packModel(fit(learn, features))
  const { objects: models } = decodeMessage(joint!)
  const model = encodeMessage({ fields: {}, objects: [meta, ...models] }, (bytes) => task.allocate(bytes))
  return { fields: { score: areaUnderCurve(y, predicted) }, objects: await Promise.all([task.put(model), task.put(bytesOf(predicted))]) }
})
