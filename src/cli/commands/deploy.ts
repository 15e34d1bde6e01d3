/** `skep deploy`: turns what a person typed into a build and a configuration. The schema at the platform's edge does the checking. */
import { readFileSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput, FunctionKind } from '#contract/function-config.ts'
import type { CommandOptions, Context } from '../context.ts'
import { bytes } from '../format.ts'
import { parseAssignments, readStandardInput } from '../input.ts'

const kindNames: Readonly<Record<string, FunctionKind>> = {
  node: 'node', ts: 'node', javascript: 'node', typescript: 'node', python: 'python', py: 'python', command: 'command', http: 'http', wasm: 'wasm', js: 'js', quickjs: 'js',
}

export async function deploy(context: Context, path: string): Promise<void> {
  const { options } = context
  const client = await context.client()
  const name = nameFor(path, options)
  const build = { kind: kindFor(options['kind'] as string | undefined), entry: options['entry'] as string | undefined, handler: options['handler'] as string | undefined }
  const config = configFor(options)
  const source = path === '-' ? { stdin: await readStandardInput() } : { path: resolve(path) }
  const progress = await context.progress()
  try {
    const { deployFunction } = await import('../deploy-function.ts')
    const deployed = await deployFunction(client, { name, source, build, config, activate: options['activate'] !== false, wait: options['wait'] !== false, step: progress.step })
    const { sources: _sources, ...shown } = deployed
    progress.done(`${name} revision ${deployed.revision}${deployed.created ? '' : ' (unchanged)'}`)
    for (const warning of deployed.warnings) context.warn(warning)
    context.note(context.style('dim', `${deployed.kind}, ${deployed.entry}, ${bytes(deployed.codeBytes)} ${deployed.uploaded ? 'uploaded' : 'already there'}, built in ${deployed.buildMs} ms`))
    context.result(shown, () => deployed.url)
  } catch (thrown) {
    const revision = thrown instanceof PlatformError ? thrown.details?.['revision'] : undefined
    progress.done(revision === undefined ? 'not deployed' : `${name} revision ${String(revision)} is deployed and does not start`)
    throw thrown
  }
}

/** A file's name without its extensions, made to fit the rule for names. @throws INPUT_INVALID when there is none. */
export function nameFor(path: string, options: CommandOptions): string {
  if (typeof options['name'] === 'string') return options['name']
  if (path === '-') throw new PlatformError('INPUT_INVALID', 'Code from standard input has no name. Give one with --name.')
  const name = basename(resolve(path)).replace(/\.(?:zip|[cm]?[jt]sx?|py|sh|wasm)$/, '').replaceAll(/[^A-Za-z0-9_.-]/g, '-').replace(/^[^A-Za-z0-9]+/, '').slice(0, 64)
  if (name === '') throw new PlatformError('INPUT_INVALID', `No name can be made of ${JSON.stringify(path)}. Give one with --name.`)
  return name
}

function kindFor(text: string | undefined): FunctionKind | undefined {
  if (text === undefined) return undefined
  const kind = kindNames[text.toLowerCase()]
  if (kind === undefined) throw new PlatformError('INPUT_INVALID', `--kind is ${JSON.stringify(text)}: it must be one of ${Object.keys(kindNames).join(', ')}.`)
  return kind
}

type Config = Omit<FunctionConfigInput, 'kind' | 'entry'>

function configFor(options: CommandOptions): Config {
  const config: Record<string, unknown> = options['config'] === undefined ? {} : readConfigFile(options['config'] as string)
  const numbers = { memory: 'memoryMb', cpu: 'cpu', timeout: 'timeoutMs', initTimeout: 'initTimeoutMs', concurrency: 'concurrency', min: 'instancesMin', max: 'instancesMax', keepAlive: 'keepAliveMs', retries: 'retriesMax' }
  for (const [option, key] of Object.entries(numbers)) {
    const text = options[option] as string | undefined
    if (text === undefined) continue
    const value = Number(text)
    if (text.trim() === '' || !Number.isFinite(value)) throw new PlatformError('INPUT_INVALID', `--${option.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} is ${JSON.stringify(text)}: it must be a number.`)
    config[key] = value
  }
  if (options['arg'] !== undefined) config['args'] = options['arg']
  if (options['env'] !== undefined) config['environment'] = { ...(config['environment'] as object | undefined), ...parseAssignments('--env', options['env'] as string[]) }
  if (options['secret'] !== undefined) config['secrets'] = options['secret']
  if (options['public'] === true) config['public'] = true
  if (options['network'] !== undefined) config['network'] = options['network']
  if (options['burst'] !== undefined) config['burst'] = burstFor(options['burst'] as string)
  return config as Config
}

function burstFor(text: string): object {
  const queue = /^queue-up-to:(\d+)$/.exec(text)
  return queue === null ? { policy: text } : { policy: 'queue-up-to', depth: Number(queue[1]) }
}

function readConfigFile(path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', `--config ${path} cannot be used: ${(cause as Error).message}.`, { cause })
  }
  throw new PlatformError('INPUT_INVALID', `--config ${path} must hold a JSON object, like {"memoryMb": 512}.`)
}
