/** Reducer: gathers all models into one object, and their predictions into the features of the second level. */
import { encodeMessage, float64s } from '../transports/message.ts'
import { InputError, serve } from '../transports/task.ts'
import { packDataset } from './dataset.ts'

export default serve('stacking-reducer', async (task) => {
  if (task.objects.length === 0 || task.objects.length % 2 !== 0) {
    throw new InputError(`${task.objects.length} objects are not a model and its predictions from each trainer: it is called by stacking-driver.`)
  }
  const objects = await Promise.all(task.objects.map((handle) => task.get(handle)))
  const models = objects.filter((_, index) => index % 2 === 0)
  const predictions = objects.filter((_, index) => index % 2 === 1).map(float64s)
  const samples = predictions[0]!.length
  const x = new Float64Array(samples * models.length)
  predictions.forEach((column, at) => column.forEach((value, sample) => (x[sample * models.length + at] = value)))
  const joint = encodeMessage({ fields: {}, objects: models }, (bytes) => task.allocate(bytes))
  const features = packDataset({ samples, features: models.length, x, y: new Float64Array(samples) })
  return { fields: {}, objects: await Promise.all([task.put(joint), task.put(features)]) }
})
