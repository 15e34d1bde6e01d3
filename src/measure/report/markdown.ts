/** Table 3.1 as Markdown, for pages of documentation; aligned, so that it is read in a terminal as well. */
import { isProblematic, sayCell } from './cells.ts'
import type { Cell } from './cells.ts'
import type { Table } from './table.ts'
import { clouds } from './thesis-clouds.ts'

export function tableMarkdown({ provider, rows }: Table): string {
  const heads = ['Factor', `${provider} MR`, 'TR', ...clouds.flatMap((cloud) => [`${cloud} MR`, 'TR']), 'of']
  const cells = rows.map((row) => {
    const isMissing = row.mr.kind === 'none' && row.tr.kind === 'none'
    const theirs = clouds.flatMap((cloud) => (row.thesis[cloud] ?? ['n/a', 'n/a']).map((value) => (Number(value) > 10 ? `**${value}**` : String(value))))
    return [`${row.name} (§${row.section})`, ...(isMissing ? ['–', '–'] : [ratio(row.mr), ratio(row.tr)]), ...theirs, row.of]
  })
  return `${aligned([heads, ...cells].map((row) => row.map(escape)))}\nBold: above 10, potentially problematic (thesis 3.6.1). In brackets 95 % intervals. AWS, Google and Azure: thesis, Table 3.1.\n`
}

function ratio(cell: Cell): string {
  const said = sayCell(cell)
  return isProblematic(cell) ? said.replace(/^[^[]*[^[\s]/, (value) => `**${value}**`) : said
}

/** What a cell can't have: line ends and bars; and HTML and links, which Markdown would pass on. */
function escape(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ').replace(/[\\|`]/g, '\\$&').replaceAll('](', ']\\(').replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(3, ...rows.map((row) => [...row[column]!].length)))
  const line = (row: readonly string[]): string => `| ${row.map((cell, column) => cell + ' '.repeat(widths[column]! - [...cell].length)).join(' | ')} |\n`
  return line(rows[0]!) + `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|\n` + rows.slice(1).map(line).join('')
}
