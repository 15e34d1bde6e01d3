/**
 * The process in which code-check.ts looks at a function's entry file: the file on standard input, what is asked for as the one argument, the
 * first thing that is wrong on standard output. It breaks where a parser does; nobody else is in here.
 */
import { buffer } from 'node:stream/consumers'
import { PlatformError } from '#contract/errors.ts'
import type { CheckedConfig } from './code-check.ts'

const { kind, entry, memoryMb, handler } = JSON.parse(process.argv[2]!) as CheckedConfig
const bytes = await buffer(process.stdin)
const found = kind === 'js' ? await inJavaScript() : await inModule()
process.stdout.write(JSON.stringify(found === undefined ? {} : { error: found.toBody() }))

async function inJavaScript(): Promise<PlatformError | undefined> {
  const { checkBundle } = await import('../../runtimes/faaslet/js/check-bundle.ts')
  try {
    checkBundle(new TextDecoder().decode(bytes), entry)
  } catch (thrown) {
    if (thrown instanceof PlatformError) return thrown
    throw thrown
  }
  return undefined
}

async function inModule(): Promise<PlatformError | undefined> {
  const { checkModule } = await import('../../runtimes/faaslet/wasm/check.ts')
  // As the host has it (runtimes/faaslet/wasi/guest.ts): pages of 64 KB.
  const { errors } = checkModule(bytes, { memoryPagesMax: memoryMb * 16, handler })
  return errors.find(({ kind: { fault } }) => fault === 'function')
}
