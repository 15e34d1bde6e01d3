/**
 * OpenWhisk, through its API: actions are put as zips and invoked blocking, with the whole activation as the answer, since it tells how the instance was started.
 *
 *   PUT    /api/v1/namespaces/_/actions/NAME?overwrite=true     {exec, limits, annotations}
 *   POST   /api/v1/namespaces/_/actions/NAME?blocking=true&result=false
 *   DELETE /api/v1/namespaces/_/actions/NAME
 *
 * Source: apache/openwhisk at 1fae641a2, docs/rest_api.md and docs/annotations.md. `initTime` is there when an instance was started for the invocation, and only then; `waitTime` is
 * the time in OpenWhisk's own queues. With `result=true` the answer would be smaller by some 600 bytes, and tell neither.
 */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import { functionPackage } from '../functions/package.ts'
import type { Answer, Capabilities, Endpoint, Limitation, PrepareOptions, Provider, RawAnswer } from '../provider.ts'
import { Deployments } from './deployments.ts'
import { functionFor, imageMbFor, limitationsOf, memoryFor, refuseImpossible } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { sendHttp } from './send.ts'
import { answerInvalid, fieldsFor, parse, readReplyValue, transferOf } from './stellar-protocol.ts'
import { zipOf } from './zip.ts'

const MB = 1024 * 1024
const DEPLOY_MS_MAX = 300_000

export interface OpenWhiskOptions {
  /** As `http://127.0.0.1:3233`. */
  readonly apiHost: string
  /** `uuid:key`. */
  readonly auth: string
}

const offered = {
  name: 'OpenWhisk',
  capabilities: { deploys: true, coldStarts: 'keep-alive-fixed', transfers: ['none', 'inline'], runtimes: ['node', 'python'], imageSize: true, memory: true, phases: ['wait', 'init', 'run'] },
  // 48 MB of code, which is base64.
  imageMbMax: 35,
  inlineBytesMax: MB,
  versions: { node: 'its default Node', python: 'its default Python' },
} as const satisfies Offer

/** As OpenWhisk is shipped. */
const LIMITS = { min_action_memory: 128 * MB, max_action_memory: 512 * MB, max_action_duration: 300_000 }
const description = z.looseObject({ limits: z.looseObject({ min_action_memory: z.number(), max_action_memory: z.number(), max_action_duration: z.number() }).partial().default({}) })

const activation = z.looseObject({
  activationId: z.string().max(256),
  duration: z.number().min(0).default(0),
  annotations: z.array(z.looseObject({ key: z.string(), value: z.unknown() })).default([]),
  response: z.looseObject({ success: z.boolean(), status: z.string().optional(), result: z.unknown() }),
})

/** Q1 of stellar-protocol.ts. */
export function readActivation(raw: RawAnswer, functions: number): Answer {
  if (raw.status === 202) throw answerInvalid(raw, 'has status 202: the action had not ended after the 60 s that OpenWhisk waits')
  if (raw.status !== 200) throw answerInvalid(raw, `has status ${raw.status}`)
  const parsed = activation.safeParse(parse(raw))
  if (!parsed.success) throw answerInvalid(raw, 'is no activation of OpenWhisk')
  const { activationId, duration, annotations, response } = parsed.data
  if (!response.success) throw answerInvalid(raw, `is an activation that failed (${response.status ?? 'unknown'})`)
  const of = (key: string): number | undefined => {
    const value = annotations.find((one) => one.key === key)?.value
    return typeof value === 'number' && value >= 0 ? value : undefined
  }
  const [wait, init] = [of('waitTime'), of('initTime')]
  const phases = { ...(wait !== undefined && { wait }), ...(init !== undefined && { init }), run: Math.max(0, duration - (init ?? 0)) }
  return { requestId: activationId, timestamps: readReplyValue(raw, response.result, functions).timestamps, start: init === undefined ? 'warm' : 'cold', phases }
}

export class OpenWhiskProvider implements Provider {
  readonly name = 'openwhisk'
  readonly capabilities: Capabilities = offered.capabilities
  readonly about: Readonly<Record<string, string>>
  readonly #options: OpenWhiskOptions
  readonly #headers: Readonly<Record<string, string>>
  readonly #offer: Offer
  readonly #timeoutMs: number
  readonly #deployments: Deployments

  private constructor(options: OpenWhiskOptions, namespace: string, limits: typeof LIMITS) {
    this.#options = options
    this.#headers = headersOf(options)
    this.#timeoutMs = limits.max_action_duration
    this.#offer = { ...offered, memoryMb: { min: limits.min_action_memory / MB, max: limits.max_action_memory / MB } }
    this.about = { address: options.apiHost, namespace }
    this.#deployments = new Deployments({
      deploy: (name, one) => this.#deploy(name, one),
      remove: (name) => this.#remove(name),
      endpoint: (name, chain, one) => this.#endpoint(name, chain, one),
    })
  }

  /** @throws SERVER_UNREACHABLE, KEY_INVALID: before anything else is done. */
  static async open(options: OpenWhiskOptions, signal = AbortSignal.timeout(30_000)): Promise<OpenWhiskProvider> {
    if (!/^https?:\/\/[^/\s]+$/.test(options.apiHost)) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(options.apiHost.slice(0, 200))} is no address of OpenWhisk; give one like http://127.0.0.1:3233.`)
    const get = (path: string): Promise<RawAnswer> => sendHttp(options.apiHost, { method: 'GET', path, headers: headersOf(options), body: undefined }, signal)
    const namespaces = await get('/api/v1/namespaces')
    if (namespaces.status === 401) throw new PlatformError('KEY_INVALID', `OpenWhisk at ${options.apiHost} does not know this key; give the one of \`wsk property get --auth\`.`)
    const names = z.array(z.string()).safeParse(namespaces.status === 200 ? parse(namespaces) : undefined)
    if (!names.success) throw new PlatformError('SERVER_UNREACHABLE', `${options.apiHost} answered ${namespaces.status} and no namespaces: is it OpenWhisk?`)
    const root = await get('/')
    const { data } = description.safeParse(root.status === 200 ? parse(root) : {})
    return new OpenWhiskProvider(options, names.data[0] ?? '_', { ...LIMITS, ...data?.limits } as typeof LIMITS)
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    return limitationsOf(one, this.#offer)
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    refuseImpossible(one, this.#offer)
    return this.#deployments.prepare(one, options)
  }

  release(one: SubExperiment): Promise<void> {
    return this.#deployments.release(one)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#deployments.releaseAll()
  }

  async #deploy(name: string, one: SubExperiment): Promise<void> {
    const { name: functionName, language } = functionFor(one, this.#offer)
    const zip = await zipOf(functionPackage({ name: functionName, language, target: 'openwhisk', imageBytes: imageMbFor(one, this.#offer) * MB }))
    const body = Buffer.from(JSON.stringify({
      exec: { kind: language === 'node' ? 'nodejs:default' : 'python:default', code: zip.toString('base64'), binary: true },
      limits: { memory: memoryFor(one, this.#offer), timeout: this.#timeoutMs },
      // Functions of a chain invoke each other with it.
      annotations: [{ key: 'provide-api-key', value: true }],
    }))
    const answer = await sendHttp(this.#options.apiHost, { method: 'PUT', path: `${actionPath(name)}?overwrite=true`, headers: this.#headers, body }, AbortSignal.timeout(DEPLOY_MS_MAX))
    if (answer.status !== 200) throw refused('deploy', name, answer)
  }

  async #remove(name: string): Promise<void> {
    const response = await fetch(`${this.#options.apiHost}${actionPath(name)}`, { method: 'DELETE', headers: this.#headers })
    const body = await response.bytes()
    if (response.status !== 200 && response.status !== 404) throw refused('remove', name, { status: response.status, headers: {}, body })
  }

  #endpoint(name: string, chain: readonly string[], one: SubExperiment): Endpoint {
    const options = { chain, transfer: transferOf(one) }
    const path = `${actionPath(name)}?blocking=true&result=false`
    return {
      host: `${new URL(this.#options.apiHost).host}/${name}`,
      transport: { kind: 'http', origin: this.#options.apiHost },
      request: (parameters) => ({ method: 'POST', path, headers: this.#headers, body: Buffer.from(JSON.stringify(fieldsFor(parameters, options))) }),
      readAnswer: (raw) => readActivation(raw, chain.length + 1),
    }
  }
}

function headersOf({ auth }: OpenWhiskOptions): Readonly<Record<string, string>> {
  return { authorization: `Basic ${Buffer.from(auth).toString('base64')}`, 'content-type': 'application/json' }
}

function actionPath(name: string): string {
  return `/api/v1/namespaces/_/actions/${name}`
}

function refused(what: string, name: string, raw: RawAnswer): PlatformError {
  const said = Buffer.from(raw.body).toString('utf8', 0, 300)
  return new PlatformError(raw.status === 429 ? 'RATE_EXCEEDED' : 'SERVER_UNREACHABLE', `OpenWhisk refused to ${what} action ${name} with ${raw.status}: ${JSON.stringify(said)}.`)
}
