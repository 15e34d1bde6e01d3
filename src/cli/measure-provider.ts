/** The providers that an experiment or --provider names, with what options and environment say of their places. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { Provider } from '#measure/provider.ts'
import { openProvider as open, providers } from '#measure/providers/providers.ts'
import { findConnection } from './connection.ts'
import type { CommandOptions } from './context.ts'
import { parseWhole } from './format.ts'
import { sourceRoot } from './source-root.ts'

/** Of `a,b`; undefined when nothing was said. @throws INPUT_INVALID. */
export function providerNames(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined
  const names = text.split(',').map((name) => name.trim())
  if (names.includes('') || new Set(names).size < names.length) throw new PlatformError('INPUT_INVALID', `--provider is ${JSON.stringify(text)}: name each provider once, as skep,workerd.`)
  return names
}

/** @throws INPUT_INVALID for a name that is none: before anything is measured on the ones before it. */
export function checkProvider(name: string): void {
  if (Object.hasOwn(providers, name.toLowerCase())) return
  throw new PlatformError('INPUT_INVALID', `There is no provider ${JSON.stringify(name.slice(0, 80))}: choose one of ${Object.keys(providers).join(', ')} with --provider.`)
}

export function openProvider(name: string, options: CommandOptions): Promise<Provider> {
  const text = (option: string): string | undefined => options[option] as string | undefined
  const reserved = text('reservedConcurrency')
  return open(name, {
    ...(name.toLowerCase() === 'skep' ? ourPlatform(options) : { url: options.url, key: options.key, namespace: options.namespace }),
    endpointsDirectory: text('endpoints'),
    endpoints: options['endpoint'] as string[] | undefined,
    hosts: options['host'] as string[] | undefined,
    bucket: text('bucket'),
    region: text('region'),
    role: text('role'),
    reservedConcurrency: reserved === undefined ? undefined : parseWhole('--reserved-concurrency', reserved, 1, 1_000_000),
    workerd: text('workerd') ?? workerdOfBenches(),
    environment: process.env,
  })
}

/** The one that the benchmarks have as a baseline, once they are installed; otherwise it is looked for in PATH. */
function workerdOfBenches(): string | undefined {
  const path = join(sourceRoot, 'bench/baselines/node_modules/@cloudflare', `workerd-linux-${process.arch === 'x64' ? '64' : process.arch}`, 'bin/workerd')
  return existsSync(path) ? path : undefined
}

/** Also where it was not said: as every command finds it. */
function ourPlatform(options: CommandOptions): { readonly url: string; readonly key: string; readonly namespace: string | undefined } {
  const { url, key, namespace, namespaceGiven } = findConnection(options, process.env)
  return { url, key, namespace: namespaceGiven ? namespace : undefined }
}
