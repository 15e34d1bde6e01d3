/**
 * docs/results/<date>-transfers.json: what the scenarios about transfers have measured on a day, by their names, for the figures of bench/plots.
 *
 * A scenario adds its result with the argument `save`. The result of one that has no such argument is added by hand:
 *
 *   ./skep bench workloads --json | node bench/kit/saved-transfers.ts
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { BenchResult } from '#cli/commands/bench.ts'

/** @param root Of the checkout. @returns The path of the file. */
export function saveTransfers(root: string, scenario: string, { figures, baselines = {}, ratios = {} }: BenchResult): string {
  const path = join(root, 'docs/results', `${new Date().toISOString().slice(0, 10)}-transfers.json`)
  const saved = (existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}) as { readonly scenarios?: Readonly<Record<string, unknown>> }
  const machine = { processor: cpus()[0]?.model, cores: availableParallelism(), memoryGb: Math.round(totalmem() / 2 ** 30), node: process.version }
  writeFileSync(path, `${JSON.stringify({ machine, scenarios: { ...saved.scenarios, [scenario]: { figures, baselines, ratios } } }, undefined, 1)}\n`)
  return path
}

if (import.meta.main) {
  const { scenario, ...result } = JSON.parse((await text(process.stdin)).trim().split('\n').at(-1)!) as BenchResult & { readonly scenario: string }
  process.stdout.write(`${saveTransfers(join(import.meta.dirname, '../..'), scenario, result)}\n`)
}
