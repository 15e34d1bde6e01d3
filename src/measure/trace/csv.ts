/**
 * Reads the CSV of public traces as a stream: one row at a time, columns by name, and errors that say where.
 *
 * The files of the Azure traces and of In-Vitro have a header, no quotes and no commas inside a field (vhive-serverless/invitro,
 * pkg/trace). Where we differ: In-Vitro reads some columns by position and stops the process at what it cannot read; here
 * an error names the file, the line and the column. A quote is refused, because reading past it would shift every later column.
 *
 * Invariants:
 *   C1. However the text is cut into chunks, the rows are the same.
 *   C2. At most LINE_LENGTH_MAX characters and one chunk are held.
 *   C3. Whatever the text, what is thrown is a PlatformError INPUT_INVALID that names file and line.
 */
import { PlatformError } from '#contract/errors.ts'

/** Where text comes from, with the name that errors call it. */
export interface TextSource {
  readonly name: string
  readonly chunks: AsyncIterable<string> | Iterable<string>
}

/** A day by the second is 86,400 columns: under 1 Mi characters. */
const LINE_LENGTH_MAX = 4 << 20

/** One row; its number counts the header as line 1. */
export class CsvRow {
  readonly file: string
  readonly line: number
  readonly columns: ReadonlyMap<string, number>
  readonly cells: readonly string[]

  constructor(file: string, line: number, columns: ReadonlyMap<string, number>, cells: readonly string[]) {
    this.file = file
    this.line = line
    this.columns = columns
    this.cells = cells
  }

  /** Empty when there is no such column. */
  optionalText(column: string): string {
    const index = this.columns.get(column)
    return index === undefined ? '' : this.cells[index]!
  }

  text(column: string): string {
    const value = this.optionalText(column)
    if (value === '') throw this.error(column, 'is missing or empty: every row needs it')
    return value
  }

  /** @param unit What the number counts, for the message. */
  number(column: string, unit: string): number {
    const text = this.text(column)
    const value = /^\d+(?:\.\d*)?(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
    if (!Number.isFinite(value)) throw this.error(column, `${quote(text)} is not a number of ${unit} from 0: correct it, or leave the row out`)
    return value
  }

  error(column: string, what: string): PlatformError {
    const index = this.columns.get(column)
    const place = index === undefined ? '' : ` (${index + 1})`
    return invalid(this.file, this.line, `column ${quote(column)}${place} ${what}`)
  }
}

/** @param required The columns without which the file is not what it should be. */
export async function* csvRows(source: TextSource, required: readonly string[]): AsyncGenerator<CsvRow> {
  let columns: Map<string, number> | undefined
  for await (const { text, line } of linesOf(source)) {
    if (text === '') continue
    if (text.includes('"')) throw invalid(source.name, line, `column ${text.slice(0, text.indexOf('"')).split(',').length} has a quote, and traces have none: write the field without it`)
    const cells = text.split(',').map((cell) => cell.trim())
    if (columns === undefined) {
      columns = headerOf(source.name, line, cells, required)
    } else {
      if (cells.length !== columns.size) throw invalid(source.name, line, `has ${cells.length} columns, the header ${columns.size}: complete the row, or leave it out`)
      yield new CsvRow(source.name, line, columns, cells)
    }
  }
  if (columns === undefined) throw invalid(source.name, 1, `is empty: the first line names the columns, among them ${required.join(', ')}`)
}

function headerOf(file: string, line: number, cells: readonly string[], required: readonly string[]): Map<string, number> {
  const columns = new Map<string, number>()
  for (const [index, name] of cells.entries()) {
    if (columns.has(name)) throw invalid(file, line, `column ${quote(name)} (${index + 1}) is there twice: keep one`)
    columns.set(name, index)
  }
  const missing = required.find((name) => !columns.has(name))
  if (missing !== undefined) throw invalid(file, line, `column ${quote(missing)} is missing: the header must have ${required.join(', ')}`)
  return columns
}

async function* linesOf({ name, chunks }: TextSource): AsyncGenerator<{ readonly text: string; readonly line: number }> {
  let line = 1
  let rest = ''
  const lineOf = (text: string): { readonly text: string; readonly line: number } => {
    const from = line === 1 && text.startsWith('\ufeff') ? 1 : 0
    return { text: text.slice(from, text.endsWith('\r') ? -1 : undefined), line: line++ }
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', from)) {
      const text = rest + chunk.slice(from, end)
      rest = ''
      from = end + 1
      checkLength(text)
      yield lineOf(text)
    }
    rest += chunk.slice(from)
    checkLength(rest)
  }
  if (rest !== '') yield lineOf(rest)

  function checkLength(text: string): void {
    if (text.length > LINE_LENGTH_MAX) throw invalid(name, line, `is longer than ${LINE_LENGTH_MAX} characters: is this a trace?`)
  }
}

export function invalid(file: string, line: number, what: string): PlatformError {
  return new PlatformError('INPUT_INVALID', `${file}, line ${line}: ${what}`)
}

/** What stands in the file, short enough for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
}
