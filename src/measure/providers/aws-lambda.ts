/**
 * AWS Lambda, through its official SDK: the transport is a `call`, so latency is that of the whole answer.
 *
 * The SDK signs, and keeps its connections; no socket of ours stands between. It is loaded when this provider is asked for, and not before: it is no dependency of the platform. Invocations
 * have no retries, which would hide throttling as latency, and as many connections as a burst has requests, where the SDK's own number (50) would make it a queue in the client.
 *
 *   create ─▶ wait until Active ─▶ (publish a version, for SnapStart) ─▶ invoke … ─▶ delete
 *
 * Source: AWS, Lambda API reference 2015-03-31. How an instance was started is in the REPORT line of the log's tail, which comes with the answer: `Init Duration` is there for a cold
 * start, `Restore Duration` for one from a SnapStart snapshot.
 */
import type { LambdaClient, Runtime } from '@aws-sdk/client-lambda'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import { functionPackage } from '../functions/package.ts'
import type { Answer, Capabilities, Endpoint, Limitation, PrepareOptions, Provider, RawAnswer, RequestMessage } from '../provider.ts'
import { Deployments } from './deployments.ts'
import { functionFor, imageMbFor, limitationsOf, memoryFor, refuseImpossible } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { answerInvalid, fieldsFor, readReply, transferOf } from './stellar-protocol.ts'
import { zipOf } from './zip.ts'

const MB = 1024 * 1024
const TIMEOUT_S = 900
const ACTIVE_S_MAX = 600
const SOCKETS_MAX = 10_000
/** Versions that Lambda has; a file's own is taken where it names one. */
const RUNTIMES = { node: { form: /^nodejs\d+\.x$/, standard: 'nodejs22.x' }, python: { form: /^python3\.\d+$/, standard: 'python3.13' } } as const

export interface AwsLambdaOptions {
  readonly region: string
  /** ARN of the execution role; for chains it has to allow lambda:InvokeFunction, for storage s3:GetObject and s3:PutObject. */
  readonly role: string
  /** Another address than AWS's: an emulator. */
  readonly endpoint?: string | undefined
  /** Without them, those that the SDK finds: environment, profile, instance. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  /** For transfers by storage. */
  readonly bucket?: string | undefined
  /** Instances that each function may have; without it, what the account allows. */
  readonly reservedConcurrency?: number | undefined
}

const REPORT = /REPORT RequestId: \S+\s+Duration: ([\d.]+) ms[^\n]*/

/** Q1 of stellar-protocol.ts. */
export function readInvocation(raw: RawAnswer, functions: number): Answer {
  const failed = raw.headers['x-amz-function-error']
  if (failed !== undefined) throw answerInvalid(raw, `is a failure of the function (${failed})`)
  const { requestId, timestamps } = readReply(raw, functions)
  const log = Buffer.from(raw.headers['x-amz-log-result'] ?? '', 'base64').toString()
  const [report, run] = REPORT.exec(log) ?? []
  if (report === undefined) return { requestId, timestamps, start: 'unknown', phases: undefined }
  const init = /(?:Init|Restore) Duration: ([\d.]+) ms/.exec(report)?.[1]
  return { requestId, timestamps, start: init === undefined ? 'warm' : 'cold', phases: { ...(init !== undefined && { init: Number(init) }), run: Number(run) } }
}

type Sdk = typeof import('@aws-sdk/client-lambda')

/** @throws INPUT_INVALID with what to install. */
export async function loadSdk(load: () => Promise<Sdk> = () => import('@aws-sdk/client-lambda')): Promise<Sdk> {
  try {
    return await load()
  } catch (cause) {
    throw new PlatformError('INPUT_INVALID', 'AWS Lambda is reached through its SDK, which is not installed; install it with: npm install --no-save @aws-sdk/client-lambda', { cause })
  }
}

export class AwsLambdaProvider implements Provider {
  readonly name = 'aws'
  readonly capabilities: Capabilities
  readonly about: Readonly<Record<string, string>>
  readonly #sdk: Sdk
  readonly #options: AwsLambdaOptions
  readonly #offer: Offer
  readonly #control: LambdaClient
  readonly #data: LambdaClient
  readonly #deployments: Deployments
  /** Versions by function, where they are published. */
  readonly #versions = new Map<string, string>()

  private constructor(sdk: Sdk, options: AwsLambdaOptions) {
    const { region, endpoint, credentials, bucket } = options
    this.#sdk = sdk
    this.#options = options
    this.capabilities = { deploys: true, coldStarts: 'keep-alive-fixed', transfers: ['none', 'inline', ...(bucket === undefined ? [] : (['storage'] as const))], runtimes: ['node', 'python'], imageSize: true, memory: true, phases: ['init', 'run'] }
    // A zip in the request may have 50 MB; the invocation's payload 6 MB.
    this.#offer = { name: 'AWS Lambda', capabilities: this.capabilities, memoryMb: { min: 128, max: 10_240 }, imageMbMax: 49, inlineBytesMax: 6 * MB, snapStart: true }
    this.about = { region, ...(endpoint !== undefined && { endpoint }), transport: 'the SDK for JavaScript' }
    const common = { region, ...(endpoint !== undefined && { endpoint }), ...(credentials !== undefined && { credentials }) }
    const agent = { keepAlive: true, maxSockets: SOCKETS_MAX }
    this.#control = new sdk.LambdaClient(common)
    this.#data = new sdk.LambdaClient({ ...common, maxAttempts: 1, requestHandler: { requestTimeout: (TIMEOUT_S + 30) * 1000, httpAgent: agent, httpsAgent: agent } })
    this.#deployments = new Deployments({
      deploy: (name, one) => this.#deploy(name, one),
      remove: (name) => this.#remove(name),
      endpoint: (name, chain, one) => this.#endpoint(name, chain, one),
    })
  }

  static async open(options: AwsLambdaOptions, sdk = loadSdk()): Promise<AwsLambdaProvider> {
    if (!/^arn:[\w-]+:iam::\d{12}:role\/.+$/.test(options.role)) {
      throw new PlatformError('INPUT_INVALID', `${JSON.stringify(options.role.slice(0, 200))} is no ARN of a role; give one like arn:aws:iam::123456789012:role/measure, under which the functions run.`)
    }
    return new AwsLambdaProvider(await sdk, options)
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    const limitations = limitationsOf(one, this.#offer)
    if (!one.SnapStartEnabled || functionFor(one, this.#offer).language === 'python') return limitations
    return [...limitations, { field: 'SnapStartEnabled', message: 'true: AWS Lambda has it for Python, Java and .NET; the function is deployed without' }]
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    refuseImpossible(one, this.#offer)
    return this.#deployments.prepare(one, options)
  }

  release(one: SubExperiment): Promise<void> {
    return this.#deployments.release(one)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#deployments.releaseAll()
    this.#control.destroy()
    this.#data.destroy()
  }

  async #deploy(FunctionName: string, one: SubExperiment): Promise<void> {
    const { CreateFunctionCommand, PublishVersionCommand, PutFunctionConcurrencyCommand, waitUntilFunctionActiveV2 } = this.#sdk
    const { name, language } = functionFor(one, this.#offer)
    const { form, standard } = RUNTIMES[language]
    const ZipFile = await zipOf(functionPackage({ name, language, target: 'lambda', imageBytes: imageMbFor(one, this.#offer) * MB }))
    const snapStart = one.SnapStartEnabled && language === 'python'
    const wait = (Qualifier?: string) => waitUntilFunctionActiveV2({ client: this.#control, maxWaitTime: ACTIVE_S_MAX, minDelay: 1, maxDelay: 5 }, { FunctionName, ...(Qualifier !== undefined && { Qualifier }) })
    try {
      await this.#control.send(new CreateFunctionCommand({
        FunctionName,
        Runtime: (form.test(one.Runtime) ? one.Runtime : standard) as Runtime,
        Role: this.#options.role,
        Handler: language === 'node' ? 'index.handler' : 'main.lambda_handler',
        Code: { ZipFile },
        MemorySize: memoryFor(one, this.#offer),
        Timeout: TIMEOUT_S,
        ...(snapStart && { SnapStart: { ApplyOn: 'PublishedVersions' } }),
      }))
      await wait()
      if (this.#options.reservedConcurrency !== undefined) await this.#control.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: this.#options.reservedConcurrency }))
      if (!snapStart) return
      const { Version } = await this.#control.send(new PublishVersionCommand({ FunctionName }))
      await wait(Version)
      this.#versions.set(FunctionName, Version!)
    } catch (cause) {
      throw new PlatformError('SERVER_UNREACHABLE', `AWS Lambda did not make function ${FunctionName}: ${(cause as Error).name}: ${(cause as Error).message}`, { cause })
    }
  }

  async #remove(FunctionName: string): Promise<void> {
    const { DeleteFunctionCommand, ResourceNotFoundException } = this.#sdk
    this.#versions.delete(FunctionName)
    await this.#control.send(new DeleteFunctionCommand({ FunctionName })).catch((error: unknown) => {
      if (!(error instanceof ResourceNotFoundException)) throw error
    })
  }

  #endpoint(name: string, chain: readonly string[], one: SubExperiment): Endpoint {
    const options = { chain: chain.map((next) => this.#qualified(next)), transfer: transferOf(one), bucket: this.#options.bucket }
    const qualified = this.#qualified(name)
    return {
      host: name,
      transport: { kind: 'call', call: (message, signal) => this.#invoke(qualified, message, signal) },
      request: (parameters) => ({ method: 'POST', path: `/2015-03-31/functions/${qualified}/invocations`, headers: {}, body: Buffer.from(JSON.stringify(fieldsFor(parameters, options))) }),
      readAnswer: (raw) => readInvocation(raw, chain.length + 1),
    }
  }

  #qualified(name: string): string {
    const version = this.#versions.get(name)
    return version === undefined ? name : `${name}:${version}`
  }

  /** What AWS refuses is an answer with its status, as it would be over HTTP. */
  async #invoke(FunctionName: string, { body }: RequestMessage, signal: AbortSignal): Promise<RawAnswer> {
    const { InvokeCommand, LambdaServiceException } = this.#sdk
    try {
      const answer = await this.#data.send(new InvokeCommand({ FunctionName, ...(body !== undefined && { Payload: body }), LogType: 'Tail' }), { abortSignal: signal })
      const { StatusCode = 0, FunctionError, LogResult, Payload } = answer
      const headers = { ...(FunctionError !== undefined && { 'x-amz-function-error': FunctionError }), ...(LogResult !== undefined && { 'x-amz-log-result': LogResult }) }
      return { status: StatusCode, headers, body: Payload ?? new Uint8Array() }
    } catch (cause) {
      if (signal.aborted) throw new PlatformError('CANCELLED', `The invocation of ${FunctionName} was given up.`, { cause })
      const status = cause instanceof LambdaServiceException ? cause.$metadata.httpStatusCode : undefined
      if (status !== undefined) return { status, headers: { 'x-amzn-errortype': (cause as Error).name }, body: Buffer.from(`${(cause as Error).name}: ${(cause as Error).message}`) }
      throw new PlatformError('SERVER_UNREACHABLE', `AWS Lambda did not answer: ${(cause as Error).name}: ${(cause as Error).message}. Check region, credentials and network.`, { cause })
    }
  }
}
