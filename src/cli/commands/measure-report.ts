/** `skep measure report` and `skep measure compare`: what was measured, as files and as lines. */
import type { Context } from '../context.ts'

export async function measureReport(context: Context, directory: string): Promise<void> {
  const { writeReport } = await import('#measure/report/write-report.ts')
  const { files, notes, text } = await writeReport(directory)
  for (const note of notes) context.note(note)
  context.result({ directory, files }, () => `${text}${files.map((path) => `${path}\n`).join('')}`)
}

export async function measureCompare(context: Context, a: string, b: string): Promise<void> {
  const { compareDirectories, comparisonText, writeComparison } = await import('#measure/report/write-report.ts')
  const comparison = await compareDirectories(a, b, { smallestDifference: Number(context.options['smallestDifference']) })
  const output = context.options['output'] as string | undefined
  const files = output === undefined ? [] : await writeComparison(comparison, output)
  context.result({ ...comparison, files }, () => `${comparisonText(comparison)}${files.map((path) => `${path}\n`).join('')}`)
}
