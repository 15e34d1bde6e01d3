/** `skep test`: types, tidiness and tests, as one command with one closing line. The work is in scripts/run-tests.ts. */
import { availableParallelism } from 'node:os'
import { PlatformError } from '#contract/errors.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole } from '../format.ts'
import { sourceRoot } from '../source-root.ts'
import { prepareSystem } from './setup.ts'

export async function test(context: Context, filters: readonly string[]): Promise<number> {
  await prepareSystem(context)
  const [{ runTests }, { buildNative }] = await Promise.all([import('../../../scripts/run-tests.ts'), import('../../../scripts/build-native.ts')])
  await buildNative().then(
    ({ tookMs }) => tookMs > 0 && context.note(`built the native addon in ${(tookMs / 1000).toFixed(1)} s`),
    (error: unknown) => context.warn(`${PlatformError.from(error).message} The tests that need it are skipped.`),
  )
  const { concurrency } = context.options as { concurrency?: string }
  const counts = await runTests({
    root: sourceRoot,
    filters,
    soak: context.options['soak'] === true,
    concurrency: concurrency === undefined ? availableParallelism() : parseWhole('--concurrency', concurrency, 1, 64),
    write: (text) => process.stderr.write(text),
  })
  const { passed, failed, skipped } = counts
  process.stdout.write(context.json ? `${JSON.stringify(counts)}\n` : `${passed} passed, ${failed} failed, ${skipped} skipped\n`)
  return failed === 0 ? exitCodes.ok : exitCodes.functionFailed
}
