/**
 * Groups the rows of a CSV by one column and adds up another, while the body arrives: `?by=region&value=amount`.
 * Memory grows with the number of groups, not with the file.
 */
import { CsvReader } from './csv.ts'

export interface Group {
  readonly key: string
  readonly count: number
  readonly sum: number
  readonly mean: number
  readonly min: number
  readonly max: number
}

export interface CsvTotals {
  readonly by: string
  readonly value: string
  readonly rows: number
  readonly groups: readonly Group[]
}

/** What is wrong with the input, for whoever sent it. */
class InputError extends Error {}

export default {
  async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url)
    try {
      if (request.body === null) throw new InputError('There is no CSV: send it as the body.')
      return Response.json(await total(request.body, searchParams.get('by') ?? 'region', searchParams.get('value') ?? 'amount'))
    } catch (error) {
      if (!(error instanceof InputError)) throw error
      return Response.json({ error: { code: 'INPUT_INVALID', message: error.message } }, { status: 400 })
    }
  },
}

async function total(body: ReadableStream<Uint8Array>, by: string, value: string): Promise<CsvTotals> {
  const groups = new Map<string, { count: number; sum: number; lost: number; min: number; max: number }>()
  let keyAt = -1
  let valueAt = -1
  let rows = -1
  const add = (row: readonly string[]): void => {
    if (++rows === 0) {
      keyAt = columnOf(row, by)
      valueAt = columnOf(row, value)
      return
    }
    const key = row[keyAt] ?? ''
    const text = row[valueAt] ?? ''
    const number = text.trim() === '' ? NaN : Number(text)
    if (!Number.isFinite(number)) throw new InputError(`Row ${rows} has ${JSON.stringify(text)} in column "${value}", which is not a number.`)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, { count: 1, sum: number, lost: 0, min: number, max: number })
    else {
      group.count++
      // Kahan's sum carries on what rounding loses, so that a thousand prices add up to the cent.
      const exact = number - group.lost
      const sum = group.sum + exact
      group.lost = sum - group.sum - exact
      group.sum = sum
      if (number < group.min) group.min = number
      if (number > group.max) group.max = number
    }
  }
  const reader = new CsvReader()
  const decoder = new TextDecoder()
  for await (const chunk of body) reader.push(decoder.decode(chunk, { stream: true })).forEach(add)
  reader.push(decoder.decode()).forEach(add)
  reader.end().forEach(add)
  if (rows < 0) throw new InputError('The CSV is empty: its first row must name the columns.')
  const sorted = [...groups].sort(([a], [b]) => (a < b ? -1 : 1))
  return { by, value, rows, groups: sorted.map(([key, { count, sum, min, max }]) => ({ key, count, sum, mean: sum / count, min, max })) }
}

function columnOf(header: readonly string[], name: string): number {
  const at = header.indexOf(name)
  if (at < 0) throw new InputError(`There is no column "${name}". The columns are: ${header.join(', ')}.`)
  return at
}
