/**
 * What is left to do of a run that ended early.
 *
 * A sub-experiment counts as a whole: half of its samples from yesterday and half from today would be one distribution of two machines. So one that was
 * under way begins again, and what came to its end stays as it is. That only makes sense with the same settings; others are an error, with the field.
 */
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from './experiment.ts'
import type { RunSummary, SubExperimentResult } from './run-summary.ts'

/** Whether there is nothing more to do. A sub-experiment that was given up or could not be prepared is tried again; one that the provider has no means for is not. */
export function isMeasured({ outcome, limitations }: SubExperimentResult): boolean {
  return outcome.kind === 'done' || outcome.kind === 'stopped' || (outcome.kind === 'not-run' && limitations.some(({ prevents }) => prevents === true))
}

/** How messages call the experiment and the run. */
export interface ResumeNames {
  readonly file: string
  readonly directory: string
}

/** @throws INPUT_INVALID for a run of something else. */
export function checkResumable(all: readonly SubExperiment[], provider: string, summary: RunSummary, { file, directory }: ResumeNames): void {
  const next = 'resume with the file and provider as they were, or begin a new run'
  if (summary.provider.name !== provider) {
    throw new PlatformError('INPUT_INVALID', `--provider is ${provider}, and the run in ${directory} measured ${summary.provider.name}: ${next}`)
  }
  for (const { index, title, settings } of summary.results) {
    const now = all[index]
    if (now === undefined) {
      throw new PlatformError('INPUT_INVALID', `${file} has ${all.length} SubExperiments, and the run in ${directory} has SubExperiments[${index}] (${title}): ${next}`)
    }
    const field = differingField(now, settings)
    if (field === undefined) continue
    const values = `${shown(now[field])} in ${file} and ${shown(settings[field])} in ${directory}`
    throw new PlatformError('INPUT_INVALID', `SubExperiments[${index}].${field} is ${values}: ${next}`, { details: { index, field } })
  }
}

/** The first setting that is not the same; values are those of JSON, as one side was read from a file. */
export function differingField(a: SubExperiment, b: SubExperiment): keyof SubExperiment | undefined {
  const fields = new Set([...Object.keys(a), ...Object.keys(b)] as (keyof SubExperiment)[])
  return [...fields].find((field) => JSON.stringify(a[field]) !== JSON.stringify(b[field]))
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'not set').slice(0, 80)
}
