/**
 * Files of a report and of a comparison: the only place here that writes.
 *
 *   <run>/report.html, report.md, plots/<figure>.svg, and plots/<figure>.png where rsvg-convert is installed
 */
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { seededRandom } from '#base/seeded-random.ts'
import { PlatformError } from '#contract/errors.ts'
import { writeWhole } from '../run-files.ts'
import { compareRuns } from './compare.ts'
import type { Comparison } from './compare.ts'
import { comparisonHtml, comparisonJson, comparisonPage, comparisonText } from './compare-output.ts'
import { loadRun } from './load-run.ts'
import { tableMarkdown } from './markdown.ts'
import { reportPage } from './page.ts'
import { makeReport } from './report.ts'
import type { Report } from './report.ts'
import { terminalSummary } from './terminal.ts'

export { comparisonHtml, comparisonJson, comparisonPage, comparisonText, loadRun, makeReport, tableMarkdown, terminalSummary }

export interface ReportOptions {
  /** How it was measured; stands in the page. */
  readonly command?: string | undefined
  /** Where files go. Default: into the run's directory. */
  readonly output?: string
  /** PNG files beside the SVG files, by rsvg-convert. Default true. */
  readonly png?: boolean
  /** The program. Default rsvg-convert. */
  readonly converter?: string
  /** Of the bootstrap. Default 1. */
  readonly seed?: number
}

export interface WrittenReport {
  readonly report: Report
  /** Paths, the page first. */
  readonly files: readonly string[]
  /** What could not be written, and why: no PNG without a converter. */
  readonly notes: readonly string[]
  /** For the terminal. */
  readonly text: string
}

const PNG_ZOOM = '2'
const CONVERT_MS = 30_000
const run = promisify(execFile)

export async function writeReport(directory: string, options: ReportOptions = {}): Promise<WrittenReport> {
  const { output = directory, png = true, converter = 'rsvg-convert', seed = 1, command } = options
  const report = makeReport(await loadRun(directory), seededRandom(seed))
  const plots = join(output, 'plots')
  await makeDirectory(plots)
  const files: string[] = []
  const put = async (path: string, text: string): Promise<void> => {
    await writeWhole(path, text)
    files.push(path)
  }
  await put(join(output, 'report.html'), reportPage(report, { command }))
  await put(join(output, 'report.md'), tableMarkdown(report.table))
  const svgs = report.figures.flatMap((figure) => figure.plots)
  for (const { name, svg } of svgs) await put(join(plots, `${name}.svg`), svg)
  const notes: string[] = []
  if (png) {
    for (const { name } of svgs) {
      const path = join(plots, `${name}.png`)
      try {
        await run(converter, ['--zoom', PNG_ZOOM, '--output', path, join(plots, `${name}.svg`)], { timeout: CONVERT_MS })
        files.push(path)
      } catch (error) {
        const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT'
        notes.push(isMissing ? `no PNG files: ${converter} is not installed (package librsvg2-bin); the SVG files are there` : `${path}: ${(error as Error).message.split('\n')[0]}`)
        // Without the program once is without it always.
        if (isMissing) break
      }
    }
  }
  return { report, files, notes, text: terminalSummary(report) }
}

export interface ComparisonOptions {
  /** A share. Default 0.05. */
  readonly smallestDifference?: number | undefined
  readonly seed?: number
}

/** Reads both; writes nothing. */
export async function compareDirectories(a: string, b: string, options: ComparisonOptions = {}): Promise<Comparison> {
  const { smallestDifference = 0.05, seed = 1 } = options
  if (!(smallestDifference > 0 && smallestDifference < 10)) throw new PlatformError('INPUT_INVALID', `${smallestDifference} is no smallest difference: give a share above 0 and below 10, as 0.05 for 5 %`)
  return compareRuns(await loadRun(a), await loadRun(b), { smallestDifference, random: seededRandom(seed) })
}

/** @returns the paths of comparison.html and comparison.json. */
export async function writeComparison(comparison: Comparison, output: string): Promise<string[]> {
  await makeDirectory(output)
  const files = [join(output, 'comparison.html'), join(output, 'comparison.json')]
  await writeWhole(files[0]!, comparisonPage(comparison))
  await writeWhole(files[1]!, comparisonJson(comparison))
  return files
}

async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true })
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `${path} cannot be made (${(cause as NodeJS.ErrnoException).code ?? String(cause)}): name another directory`, { cause })
  }
}
