/** Mapper: sums up one input file, and puts one file for each reducer. */
import type { StorageName } from '../transports/storage.ts'
import { serve } from '../transports/task.ts'
import type { Mapped } from './driver.ts'
import { mapRows, writeGroups } from './query.ts'

interface Fields {
  readonly storage: StorageName
  readonly input: string
  readonly reducers: number
  readonly prefixLength: number
}

export default serve<Fields>('map-reduce-mapper', async (task) => {
  const { storage, input, reducers, prefixLength } = task.fields
  const text = new TextDecoder().decode(await task.read(storage, input))
  const { rows, partitions } = mapRows(text, prefixLength, reducers)
  const files = partitions.map((groups) => Buffer.from(writeGroups(groups)))
  const objects = await Promise.all(files.map((file) => task.put(file)))
  return { fields: { rows, bytes: files.reduce((sum, file) => sum + file.length, 0) } satisfies Mapped, objects }
})
