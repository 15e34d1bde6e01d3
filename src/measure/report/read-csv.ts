/**
 * Reads latencies.csv and data-transfers.csv, ours and the original's alike (csv.ts).
 *
 * Columns are found by name. A run that was ended in the middle of a line leaves a last line without its end: it is left out and told. Everything else that
 * is no such file is an error with file, line and column.
 */
import { PlatformError } from '#contract/errors.ts'
import { sampleSet } from './samples.ts'
import type { SampleSet } from './samples.ts'

export interface CsvSamples {
  readonly samples: SampleSet
  /** Columns of timestamps; 1 for latencies. */
  readonly chainLength: number
  readonly notes: readonly string[]
}

interface Row {
  readonly line: number
  readonly cells: readonly string[]
}

const LATENCY = 'Client Latency (ms)'
const BURST = 'Burst ID'
const TIMESTAMP = /^Function \d+ Timestamp$/

/** @param file How messages call the text. */
export function readLatencies(text: string, file: string): CsvSamples {
  const { header, rows, notes } = readTable(text, file, [LATENCY, BURST])
  const [latencyAt, burstAt] = [header.indexOf(LATENCY), header.indexOf(BURST)]
  const texts = rows.map((row) => row.cells[latencyAt]!)
  const values = rows.map((row) => numberOf(row, latencyAt, LATENCY, file))
  return { samples: sampleSet(values, rows.map((row) => numberOf(row, burstAt, BURST, file)), resolutionOf(texts)), chainLength: 1, notes }
}

/** Of each chain the time between the first function's own timestamp and the last one's. */
export function readTransfers(text: string, file: string): CsvSamples {
  const { header, rows, notes } = readTable(text, file, [BURST, 'Function 0 Timestamp', 'Function 1 Timestamp'])
  const stamps = header.flatMap((name, index) => (TIMESTAMP.test(name) ? [index] : []))
  const [first, last, burstAt] = [stamps[0]!, stamps.at(-1)!, header.indexOf(BURST)]
  const values = rows.map((row) => numberOf(row, last, header[last]!, file) - numberOf(row, first, header[first]!, file))
  const backwards = values.filter((value) => value < 0).length
  const told = backwards === 0 ? [] : [`${file}: ${backwards} of ${values.length} transfers end before they begin: the functions' clocks differ`]
  const bursts = rows.map((row) => numberOf(row, burstAt, BURST, file))
  return { samples: sampleSet(values, bursts, resolutionOf(rows.map((row) => row.cells[last]!))), chainLength: stamps.length, notes: [...notes, ...told] }
}

function readTable(text: string, file: string, needed: readonly string[]): { readonly header: readonly string[]; readonly rows: readonly Row[]; readonly notes: readonly string[] } {
  const { rows: all, incomplete } = splitRows(text, file)
  const header = all.shift()?.cells ?? []
  for (const name of needed) if (!header.includes(name)) throw invalid(`${file}:1: ${name}: the header has no such column; is this a file of a measurement?`)
  const short = all.find((row) => row.cells.length !== header.length)
  if (short !== undefined) throw invalid(`${file}:${short.line}: ${short.cells.length} fields, the header has ${header.length}: mend or remove the line`)
  return { header, rows: all, notes: incomplete === undefined ? [] : [`${file}:${incomplete}: the last line has no end and is left out; the run was ended while it was written`] }
}

/** As RFC 4180. The incomplete last line is not among the rows. */
function splitRows(text: string, file: string): { readonly rows: Row[]; readonly incomplete: number | undefined } {
  const rows: Row[] = []
  let line = 1
  let at = 0
  const field = /"((?:[^"]|"")*)"(?=[,\r\n]|$)|([^",\r\n]*)/y
  while (at < text.length) {
    const cells: string[] = []
    const begins = line
    for (;;) {
      field.lastIndex = at
      const match = field.exec(text)
      const end = match === null ? at : at + match[0].length
      const rest = text.charAt(end)
      if (match === null || (rest !== ',' && rest !== '\n' && rest !== '\r' && rest !== '')) {
        if (!text.includes('\n', at)) return { rows, incomplete: begins }
        throw invalid(`${file}:${line}: a quote within a field; write it twice, and quotes around the field`)
      }
      line += match[0].split('\n').length - 1
      cells.push(match[1]?.replaceAll('""', '"') ?? match[2]!)
      at = end + 1
      if (rest === '') return { rows, incomplete: begins }
      if (rest === ',') continue
      if (rest === '\r' && text.charAt(at) === '\n') at++
      line++
      break
    }
    if (cells.length > 1 || cells[0] !== '') rows.push({ line: begins, cells })
  }
  return { rows, incomplete: undefined }
}

function numberOf(row: Row, index: number, name: string, file: string): number {
  const text = row.cells[index]!
  // A warm-up has bursts below 0, and clocks may go backwards.
  if (!/^-?\d{1,18}(?:\.\d{1,9})?$/.test(text)) throw invalid(`${file}:${row.line}: ${name}: ${JSON.stringify(text.slice(0, 60))} is no number; mend or remove the line`)
  return Number(text)
}

/** 1 for whole milliseconds, 0.001 when there are three digits more. */
function resolutionOf(texts: readonly string[]): number {
  const digits = texts.reduce((most, text) => Math.max(most, text.includes('.') ? text.length - text.indexOf('.') - 1 : 0), 0)
  return 10 ** -digits
}

function invalid(message: string): PlatformError {
  return new PlatformError('INPUT_INVALID', message)
}
