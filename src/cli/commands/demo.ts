/**
 * `skep demo`: a platform of its own, the example functions, each called on real input cold and warm, and what it cost.
 *
 * What is run stands in examples/demo.json ({@link DemoFile}). On a terminal the platform stays up to be tried; without
 * one it stops, so that a script sees how it went by the exit code.
 */
import { createReadStream, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfigInput, FunctionKind } from '#contract/function-config.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import type { InvocationView } from '../api-types.ts'
import { ApiClient, errorOf, readBytes } from '../api-client.ts'
import type { Context } from '../context.ts'
import { deployFunction } from '../deploy-function.ts'
import type { Deployed } from '../deploy-function.ts'
import { exitCodes } from '../exit-codes.ts'
import { bytes, duration, money, parseWhole, table } from '../format.ts'
import { sourceRoot } from '../source-root.ts'
import { startHere, stopSignal } from '../start-here.ts'
import { prepareSystem } from './setup.ts'

export interface DemoFile {
  readonly functions: readonly DemoFunction[]
}

interface DemoFunction {
  readonly name: string
  /** Relative to examples/. */
  readonly path: string
  readonly kind?: FunctionKind
  readonly config?: Omit<FunctionConfigInput, 'kind' | 'entry'>
  readonly calls: readonly DemoCall[]
}

interface DemoCall {
  readonly title: string
  /** A JSON value for the handler… */
  readonly data?: unknown
  /** …or a file, relative to examples/, as the body. */
  readonly file?: string
  /** Query of the request: with it, the function is called at its own URL. */
  readonly args?: Readonly<Record<string, string | number | boolean>>
}

interface CallResult {
  readonly title: string
  readonly function: string
  readonly status: number
  readonly ok: boolean
  readonly bytesIn: number
  readonly bytesOut: number
  readonly error?: string
  readonly record?: InvocationRecord
}

export async function demo(context: Context): Promise<number> {
  const stopped = stopSignal()
  const missing = await prepareSystem(context)
  const file = JSON.parse(readFileSync(join(sourceRoot, 'examples', 'demo.json'), 'utf8')) as DemoFile
  const data = await mkdtemp(join(tmpdir(), 'skep-demo-'))
  try {
    // The examples are part of Skep, so they may run where foreign code may not.
    const platform = await startHere({ port: parseWhole('--port', String(context.options['port']), 0, 65_535), dataDirectory: data, allowUnsandboxed: true })
    try {
      context.note(`platform ready at ${platform.url}`)
      const results = await runAll(context, new ApiClient({ ...platform, namespaceGiven: false }), file, missing)
      const failed = results.filter((one) => !one.ok).length
      context.result({ url: platform.url, calls: results, failed }, () => report(results))
      if (context.terminal && process.stdin.isTTY === true) {
        context.note(`\nThe platform stays up at ${platform.url}. Try it from another terminal:\n  export SKEP_URL=${platform.url} SKEP_KEY=${platform.key}\n  ./skep list\nCtrl-C stops it.`)
        await stopped
      }
      return failed === 0 ? exitCodes.ok : exitCodes.functionFailed
    } finally {
      await platform.close()
    }
  } finally {
    await rm(data, { recursive: true, force: true })
  }
}

async function runAll(context: Context, client: ApiClient, file: DemoFile, missing: readonly string[]): Promise<CallResult[]> {
  await stemCellsReady(client)
  const results: CallResult[] = []
  for (const fn of file.functions) {
    if (missing.includes('python3') && (fn.kind === 'python' || fn.path.endsWith('.py'))) {
      context.warn(`${fn.name} is left out: there is no python3 here.`)
      continue
    }
    const source = { path: join(sourceRoot, 'examples', fn.path) }
    const deployed = await deployFunction(client, { name: fn.name, source, build: { kind: fn.kind }, config: fn.config ?? {} })
    context.note(`deployed ${fn.name} (${deployed.kind}, ${bytes(deployed.codeBytes)}, built in ${deployed.buildMs} ms)`)
    // Twice: the first call of the first input finds no instance, the second finds one.
    for (const call of fn.calls) for (let time = 0; time < 2; time++) results.push(await runOne(client, deployed, call))
  }
  return results
}

/**
 * A platform that has just started makes its stem cells; a cold start in its first half second would show that, and not
 * what a cold start costs. So: until their number stays the same for a moment.
 */
async function stemCellsReady(client: ApiClient): Promise<void> {
  let before = 0
  let still = 0
  for (let pass = 0; pass < 40 && still < 4; pass++) {
    await sleep(50)
    const { platform } = await client.json<{ platform?: { stemCells?: number } }>('GET', '/v1/stats')
    const count = platform?.stemCells ?? 0
    still = count > 0 && count === before ? still + 1 : 0
    before = count
  }
}

async function runOne(client: ApiClient, fn: Deployed, call: DemoCall): Promise<CallResult> {
  const path = join(sourceRoot, 'examples', call.file ?? '')
  const body = call.file === undefined ? JSON.stringify(call.data ?? {}) : createReadStream(path)
  const bytesIn = typeof body === 'string' ? Buffer.byteLength(body) : statSync(path).size
  const query = new URLSearchParams(Object.entries(call.args ?? {}).map(([name, value]): [string, string] => [name, String(value)]))
  const url = call.args === undefined ? `/v1/functions/${fn.function}/invocations` : `/fn/${fn.namespace}/${fn.function}?${query}`
  const common = { title: call.title, function: fn.function, bytesIn }
  try {
    const response = await client.send(url, { method: 'POST', body, headers: { 'content-type': call.file === undefined ? 'application/json' : 'application/octet-stream', 'content-length': String(bytesIn) } })
    const answer = await readBytes(response)
    const status = response.statusCode!
    const record = await recordOf(client, String(response.headers['x-skep-invocation-id'] ?? ''))
    const ok = status < 400
    return { ...common, status, ok, bytesOut: answer.length, ...(record !== undefined && { record }), ...(!ok && { error: response.headers['x-skep-error'] === undefined ? answer.toString('utf8').slice(0, 500) : errorOf(response, answer.toString('utf8')).message }) }
  } catch (thrown) {
    return { ...common, status: 0, ok: false, bytesOut: 0, error: PlatformError.from(thrown).message }
  }
}

/** The record is made when the answer's last byte has left: a moment later than we have it. */
async function recordOf(client: ApiClient, id: string): Promise<InvocationRecord | undefined> {
  for (let attempt = 0; attempt < 20 && id !== ''; attempt++) {
    const record = await client.json<InvocationView>('GET', `/v1/invocations/${id}`).catch(() => undefined)
    if (record?.state === 'ended') return record
    await sleep(5)
  }
  return undefined
}

function report(results: readonly CallResult[]): string {
  const rows = results.map((one) => {
    const { record } = one
    if (record === undefined) return [one.title, one.function, String(one.status)]
    const us = (value: number): string => (value < 10 ? '-' : duration(value))
    return [
      one.title, one.function, String(one.status), record.start, duration(record.totalUs), us(record.queueUs + record.placementUs), us(record.sandboxUs), us(record.initUs), us(record.runUs),
      duration(record.cpuUs), `${Math.round(record.memoryPeakMb)} MB`, bytes(one.bytesIn), bytes(one.bytesOut), money(record.cost),
    ]
  })
  const failures = results.filter((one) => !one.ok).map((one) => `FAILED ${one.title} (${one.function}): ${one.error ?? `status ${one.status}`}`)
  const total = results.reduce((sum, one) => sum + (one.record?.cost ?? 0), 0)
  return [
    '',
    table(['CALL', 'FUNCTION', 'STATUS', 'START', 'TOTAL', 'QUEUE', 'SANDBOX', 'INIT', 'RUN', 'CPU', 'MEMORY', 'IN', 'OUT', 'COST'], rows),
    '',
    `${results.length} calls, ${failures.length} failed, cost ${money(total)} in all.`,
    ...failures,
  ].join('\n')
}
