/**
 * `skep bench`: runs one scenario of bench/scenarios, each a file that asks one question and measures its own baseline.
 *
 * A scenario is a module whose default export takes a {@link BenchContext} and answers a {@link BenchResult}. The last line
 * on standard output is always the result as one JSON object; everything else goes to standard error.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PlatformError } from '#contract/errors.ts'
import type { Context } from '../context.ts'
import { table } from '../format.ts'
import { sourceRoot } from '../source-root.ts'

export interface BenchContext {
  /** What came after the scenario's name. */
  readonly args: readonly string[]
  /** Few samples: shows that the scenario runs. Its figures mean nothing. */
  readonly quick: boolean
  /** Root of the checkout. */
  readonly root: string
  /** Says what is being measured now. */
  step(text: string): void
}

/** Keys end with their unit. A ratio above 1 means that we are faster or more, unless its name says `over`. */
export interface BenchResult {
  readonly figures: Readonly<Record<string, unknown>>
  readonly baselines?: Readonly<Record<string, unknown>>
  readonly ratios?: Readonly<Record<string, unknown>>
}

export async function bench(context: Context, scenario: string | undefined, args: readonly string[] = []): Promise<void> {
  const directory = join(sourceRoot, 'bench', 'scenarios')
  const names = readdirSync(directory).filter((name) => /^[a-z0-9-]+\.ts$/.test(name)).map((name) => name.slice(0, -3)).sort()
  if (context.options['list'] === true) return context.result({ scenarios: names }, () => names.join('\n'))
  if (scenario === undefined || !names.includes(scenario)) {
    throw new PlatformError('INPUT_INVALID', `${scenario === undefined ? 'No scenario is named' : `There is no scenario ${JSON.stringify(scenario)}`}: choose one of ${names.join(', ') || '(none yet)'}.`)
  }
  const module = (await import(pathToFileURL(join(directory, `${scenario}.ts`)).href)) as { default?: (context: BenchContext) => Promise<BenchResult> }
  if (typeof module.default !== 'function') throw new PlatformError('INTERNAL', `bench/scenarios/${scenario}.ts has no default function.`)
  const progress = await context.progress()
  const startedMs = performance.now()
  try {
    const result = await module.default({ args, quick: context.options['quick'] === true, root: sourceRoot, step: progress.step })
    progress.done(`${scenario}: ${((performance.now() - startedMs) / 1000).toFixed(1)} s`)
    const { figures, baselines = {}, ratios = {} } = result
    if (!context.json) {
      for (const [title, values] of Object.entries({ figures, baselines, ratios })) {
        const rows = Object.entries(values).map(([key, value]) => [key, typeof value === 'object' ? JSON.stringify(value) : String(value)])
        if (rows.length > 0) process.stdout.write(`${table([title, ''], rows)}\n\n`)
      }
    }
    process.stdout.write(`${JSON.stringify({ scenario, figures, baselines, ratios })}\n`)
  } catch (thrown) {
    progress.done(`${scenario} failed`)
    throw thrown
  }
}
