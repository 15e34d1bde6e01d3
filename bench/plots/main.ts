/**
 * Draws all figures that a file of results has something for: one that scenario `reap` has saved, or those about transfers, or one of the form in results.ts.
 *
 *   node bench/plots/main.ts docs/results/DATE-reap.json docs/results/plots
 *   node bench/plots/main.ts docs/results/DATE-transfers.json docs/results/plots
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { allFigures } from './figures.ts'
import { fromReap } from './from-reap.ts'
import { fromTransfers } from './from-transfers.ts'
import { readResults } from './results.ts'
import { transferFigures } from './transfer-figures.ts'

/** @returns the paths of the files that were written. @throws Error when the file is none of results. */
export function drawFigures(resultsPath: string, directory: string): string[] {
  const value: unknown = JSON.parse(readFileSync(resultsPath, 'utf8'))
  const transfers = fromTransfers(value)
  const figures = transfers === undefined ? allFigures(readResults(fromReap(value) ?? value)) : transferFigures(transfers)
  mkdirSync(directory, { recursive: true })
  return [...figures].map(([name, svg]) => {
    const path = join(directory, name)
    writeFileSync(path, svg)
    return path
  })
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [resultsPath, directory] = process.argv.slice(2)
  if (resultsPath === undefined || directory === undefined) {
    process.stderr.write('usage: node bench/plots/main.ts RESULTS.json DIRECTORY\n')
    process.exit(2)
  }
  for (const path of drawFigures(resultsPath, directory)) process.stdout.write(`${path}\n`)
}
