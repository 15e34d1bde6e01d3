/**
 * Driver of a MapReduce aggregation: a mapper per input file, then the reducers, each of which needs a file of every mapper.
 *
 * `{"do": "prepare"}` writes the input files to the storage, once; `{"transport": "xdt"}` runs the query. Whatever the transport between mappers and reducers
 * is, input and output are in a storage (`"storage": "s3"` or `"redis"`).
 */
import { report } from '../transports/report.ts'
import type { RunReport } from '../transports/report.ts'
import { isStorageName, storageNamed, storageNames } from '../transports/storage.ts'
import type { StorageName } from '../transports/storage.ts'
import { S3Storage } from '../transports/s3.ts'
import { InputError, checkWholeNumbers, serve } from '../transports/task.ts'
import { generateVisits } from './visits.ts'

export interface MapReduceRequest {
  readonly do?: 'prepare' | 'run'
  readonly storage?: StorageName
  readonly mappers?: number
  readonly reducers?: number
  /** Rows in each of the input files. */
  readonly rows?: number
  /** X of the query: 8, 10 or 12 in the benchmark. */
  readonly prefixLength?: number
}

export interface MapReduceResult {
  readonly rows: number
  readonly groups: number
  /** In millionths. */
  readonly revenue: number
  readonly shuffledBytes: number
  /** Of each output file, SHA-256. */
  readonly digests: readonly string[]
  readonly outputs: readonly string[]
}

export type MapReduceReport = RunReport<MapReduceResult>

export interface Mapped {
  readonly rows: number
  readonly bytes: number
}

export interface Reduced {
  readonly groups: number
  readonly revenue: number
  readonly digest: string
}

export default serve<MapReduceRequest>('map-reduce-driver', async (task) => {
  const { do: what = 'run', storage = 's3', mappers = 40, reducers = 10, rows = 10_000, prefixLength = 8 } = task.fields
  checkWholeNumbers({ mappers, reducers, rows, prefixLength })
  if (!isStorageName(storage)) throw new InputError(`storage is ${JSON.stringify(storage)}, and must be one of ${storageNames.join(', ')}.`)
  const input = (mapper: number): string => `map-reduce/input/${rows}/${mapper}.csv`
  if (what === 'prepare') return { fields: await prepare(storage, mappers, rows, input) }

  const inputs = Array.from({ length: mappers }, (_, mapper) => input(mapper))
  const mapped = await Promise.all(inputs.map((file) => task.call<Mapped>('map-reduce-mapper', { storage, input: file, reducers, prefixLength })))
  const outputs = Array.from({ length: reducers }, (_, reducer) => `map-reduce/output/${task.transportName}/${reducer}.csv`)
  const reduced = await Promise.all(outputs.map((output, reducer) => task.call<Reduced>('map-reduce-reducer', { storage, output }, mapped.map(({ objects }) => objects[reducer]!))))
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0)
  const result = (): MapReduceResult => ({
    rows: sum(mapped.map(({ fields }) => fields.rows)),
    groups: sum(reduced.map(({ fields }) => fields.groups)),
    revenue: sum(reduced.map(({ fields }) => fields.revenue)),
    shuffledBytes: sum(mapped.map(({ fields }) => fields.bytes)),
    digests: reduced.map(({ fields }) => fields.digest),
    outputs,
  })
  return { fields: await report(task, result) }
})

async function prepare(name: StorageName, mappers: number, rows: number, input: (mapper: number) => string): Promise<object> {
  const storage = storageNamed(name)
  if (storage instanceof S3Storage) await storage.createBucket()
  let bytes = 0
  for (let mapper = 0; mapper < mappers; mapper++) {
    const text = Buffer.from(generateVisits(rows, 1000 + mapper))
    bytes += text.length
    await storage.put(input(mapper), text)
  }
  return { files: mappers, rows: mappers * rows, bytes }
}
