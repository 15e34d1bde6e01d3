/** Faaslets for integration tests: WebAssembly is deployed as a tar of files, JavaScript as text; and what of them lies on the host. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'
import { sandboxProcesses } from './host.ts'
import type { DeployConfig, TestPlatform } from './platform.ts'

const fixtures = join(import.meta.dirname, '../functions/wasm')
/** The compiled functions of test/functions/wasm. */
export const wasmFixture = (name: 'command' | 'reactor' | 'objects'): Buffer => readFileSync(join(fixtures, `${name}.wasm`))

export function deployJs(platform: TestPlatform, name: string, text: string, config: DeployConfig = {}): Promise<number> {
  return platform.deployText(name, 'index.js', text, { kind: 'js', ...config })
}

export function tryDeployJs(platform: TestPlatform, name: string, text: string, config: DeployConfig = {}): ReturnType<TestPlatform['send']> {
  return platform.send(`/v1/functions/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ source: { filename: 'index.js', text }, kind: 'js', ...config }),
  })
}

/** @param files Besides main.wasm. */
export async function deployWasm(platform: TestPlatform, name: string, module: Uint8Array, config: DeployConfig = {}, files: Readonly<Record<string, string>> = {}): Promise<void> {
  const answer = await tryDeployWasm(platform, name, module, config, files)
  assert.equal(answer.status, 201, answer.text)
}

export async function tryDeployWasm(platform: TestPlatform, name: string, module: Uint8Array, config: DeployConfig = {}, files: Readonly<Record<string, string>> = {}): ReturnType<TestPlatform['send']> {
  const tar = pack()
  for (const [path, content] of Object.entries({ 'main.wasm': Buffer.from(module), ...files })) tar.entry({ name: path }, content)
  tar.finalize()
  const uploaded = await platform.send('/v1/code', { method: 'POST', body: await buffer(tar), headers: { 'content-type': 'application/x-tar' } })
  assert.equal(uploaded.status, 201, uploaded.text)
  return platform.send(`/v1/functions/${name}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code: uploaded.json().digest, kind: 'wasm', entry: 'main.wasm', ...config }),
  })
}

export interface SnapshotView {
  readonly function: string
  readonly revision: number
  readonly takenAtMs: number
  readonly recording?: object
}

/** Undefined while there is none. */
export async function snapshotOf(platform: TestPlatform, name: string): Promise<SnapshotView | undefined> {
  const { snapshots } = (await platform.send('/v1/snapshots')).json<{ readonly snapshots: readonly SnapshotView[] }>()
  return snapshots.find((one) => one.function === name)
}

/** Every file in the snapshots' directory with this name: image, trace or working-set. */
export function snapshotFiles(data: string, file: string): readonly string[] {
  return (readdirSync(join(data, 'snapshots'), { recursive: true }) as string[]).filter((path) => basename(path) === file).map((path) => join(data, 'snapshots', path))
}

/** Host pids of the processes that run faaslets: Node, not the sandbox around it. Ascending. */
export function faasletHosts(data: string): readonly number[] {
  return sandboxProcesses(data).filter((pid) => {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')
    return basename(program) === 'node' && args.some((argument) => argument.endsWith('/main.js'))
  })
}
