/**
 * A module of the user's program as a function of the platform, deployed when its code is not there yet.
 *
 *   module file ─▶ bundled as by `skep deploy` ─┐
 *   remote.ts ─▶ bundled ───────────────────────┴▶ tar ─▶ digest + settings ─▶ name `map-<file>-<hash>` ─▶ there? else deployed
 *
 * The name says which code it is, so programs on many machines share a function, and a change of the code is another function: what still runs is
 * not disturbed.
 *
 * Invariants:
 *   D1. The same code and settings have the same name; other code or settings have another one.
 *   D2. Functions of a map that nobody has called for two weeks (as long as records are kept) go when a new one is deployed.
 */
import { createHash } from 'node:crypto'
import { basename, dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FunctionConfigInput } from '../../src/contract/function-config.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import type { ApiClient } from '../../src/cli/api-client.ts'

export type FunctionSettings = Partial<Pick<FunctionConfigInput, 'memoryMb' | 'cpu' | 'timeoutMs' | 'concurrency' | 'network' | 'environment' | 'secrets'>>

export interface Deployment {
  readonly name: string
  /** Path of its address. */
  readonly address: string
}

type Files = ReadonlyMap<string, { readonly bytes: Buffer; readonly executable: boolean }>

// The bundler is loaded when something is deployed, and is not for the bundle of a module that imports this client.
const BUILD: string = new URL('../../src/build/', import.meta.url).href
const build = () => import(`${BUILD}build-function.ts`) as Promise<typeof import('../../src/build/build-function.ts')>
const bundler = () => import(`${BUILD}bundle.ts`) as Promise<typeof import('../../src/build/bundle.ts')>

const CHECKOUT = fileURLToPath(new URL('../..', import.meta.url))
const ENTRY = 'skep-map-entry.mjs'
const REMOTE = 'skep-map-remote.mjs'

/** @throws CODE_INVALID with the place in the user's code, and what the platform refuses. */
export async function deployModule(api: ApiClient, file: string, settings: FunctionSettings): Promise<Deployment> {
  const [{ buildFunction }, { bundle }] = await Promise.all([build(), bundler()])
  const [user, remote] = await Promise.all([
    buildFunction({ path: file }, { kind: 'node' }),
    bundle({ root: fileURLToPath(new URL('.', import.meta.url)), entry: 'remote.ts', kind: 'node' }),
  ])
  if ('refused' in remote) throw new PlatformError('INTERNAL', `The map client itself cannot be bundled: ${remote.refused}.`)
  // The remote part first: modules are evaluated in this order.
  const entry = `import { serve } from './${REMOTE}'\nimport * as module from ${JSON.stringify(`./${user.entry}`)}\nexport default serve(module)\n`
  const files = new Map([...withoutPlace(user.files, file), [REMOTE, remote.files.get(remote.entry)!], [ENTRY, { bytes: Buffer.from(entry), executable: false }]])
  return deploy(api, basename(file), files, { ...settings, kind: 'node', entry: ENTRY })
}

/** Comments and map of the bundle say where this client lies, seen from the module: that is no part of the code (D1). */
function withoutPlace(files: Files, file: string): Files {
  const placed = (source: string, from: string): string => {
    const below = relative(CHECKOUT, resolve(dirname(file), from, source))
    return source.startsWith('..') && !below.startsWith('..') ? `skep/${below}` : source
  }
  return new Map([...files].map(([path, one]) => {
    if (!/\.mjs(?:\.map)?$/.test(path)) return [path, one]
    const text = one.bytes.toString('utf8')
    if (path.endsWith('.mjs')) return [path, { ...one, bytes: Buffer.from(text.replaceAll(/^\/\/ (\.\.\/.+)$/gm, (_all, source: string) => `// ${placed(source, '.')}`)) }]
    const map = JSON.parse(text) as { sources: readonly string[] }
    return [path, { ...one, bytes: Buffer.from(JSON.stringify({ ...map, sources: map.sources.map((source) => placed(source, dirname(path))) })) }]
  }))
}

/** The function that reads buckets: it has the network, and is given addresses that open one object each (reader.ts). */
export async function deployReader(api: ApiClient): Promise<Deployment> {
  const { buildFunction } = await build()
  const built = await buildFunction({ path: fileURLToPath(new URL('reader.ts', import.meta.url)) }, { kind: 'node' })
  return deploy(api, 'reader', built.files, { kind: 'node', entry: built.entry, network: 'host', timeoutMs: 600_000 })
}

async function deploy(api: ApiClient, file: string, files: Files, config: FunctionConfigInput): Promise<Deployment> {
  const { packCode } = await build()
  const packed = await packCode(new Map(files))
  const name = nameOf(file, packed.digest, config)
  const path = `/v1/functions/${encodeURIComponent(name)}`
  try {
    const { namespace } = await api.json<{ namespace: string }>('GET', path)
    return { name, address: `/fn/${namespace}/${name}/` }
  } catch (thrown) {
    if (PlatformError.from(thrown).code !== 'FUNCTION_NOT_FOUND') throw thrown
  }
  await api.upload(packed)
  const { namespace } = await api.json<{ namespace: string }>('PUT', path, { ...config, code: packed.digest })
  // A chore of its own, which must not fail the program.
  await removeUnused(api, Date.now()).catch(() => {})
  return { name, address: `/fn/${namespace}/${name}/` }
}

const NAME_PATTERN = /^map-[A-Za-z0-9_.-]{1,40}-[0-9a-f]{12}$/
const UNUSED_MS = 14 * 86_400_000

export function nameOf(file: string, digest: string, config: FunctionConfigInput): string {
  const stem = file.replace(/\.[^.]+$/, '').replaceAll(/[^A-Za-z0-9_.-]+/g, '-').slice(0, 40) || 'module'
  const settings = JSON.stringify(Object.entries(config).filter(([, value]) => value !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)))
  return `map-${stem}-${createHash('sha256').update(digest).update(settings).digest('hex').slice(0, 12)}`
}

/** Those that may be unused: by their names of a map, and changed long ago. */
export function candidates(functions: readonly { readonly name: string; readonly updatedAtMs: number }[], nowMs: number): string[] {
  return functions.filter(({ name, updatedAtMs }) => NAME_PATTERN.test(name) && updatedAtMs < nowMs - UNUSED_MS).map(({ name }) => name)
}

async function removeUnused(api: ApiClient, nowMs: number): Promise<void> {
  const { functions } = await api.json<{ functions: readonly { name: string; updatedAtMs: number }[] }>('GET', '/v1/functions')
  for (const name of candidates(functions, nowMs)) {
    const { invocations } = await api.json<{ invocations: readonly unknown[] }>('GET', `/v1/invocations?function=${name}&limit=1`)
    if (invocations.length === 0) await removeFunction(api, name)
  }
}

/** Gone already is as good. */
export async function removeFunction(api: ApiClient, name: string): Promise<void> {
  await api.json('DELETE', `/v1/functions/${name}`).catch((thrown: unknown) => {
    if (PlatformError.from(thrown).code !== 'FUNCTION_NOT_FOUND') throw thrown
  })
}
