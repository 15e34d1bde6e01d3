/** Reducer: adds up what all mappers have for its groups, and writes the result to the storage. */
import { createHash } from 'node:crypto'
import type { StorageName } from '../transports/storage.ts'
import { serve } from '../transports/task.ts'
import type { Reduced } from './driver.ts'
import { readGroups, reduceGroups, writeGroups } from './query.ts'

export default serve<{ readonly storage: StorageName; readonly output: string }>('map-reduce-reducer', async (task) => {
  const files = await Promise.all(task.objects.map((handle) => task.get(handle)))
  const groups = reduceGroups(files.map((file) => readGroups(new TextDecoder().decode(file))))
  const result = Buffer.from(writeGroups(groups))
  await task.write(task.fields.storage, task.fields.output, result)
  const revenue = groups.values().reduce((sum, value) => sum + value, 0)
  return { fields: { groups: groups.size, revenue, digest: createHash('sha256').update(result).digest('hex') } satisfies Reduced }
})
