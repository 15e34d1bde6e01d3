/**
 * Functions that somebody else has deployed, by their addresses: STeLLAR's endpoints file, or plain URLs.
 *
 * Source: STeLLAR, `-g <directory>/<provider>.json` (src/setup/assign-endpoints.go at 3f19351): an array of
 * `{"GatewayID":"host:port","FunctionMemoryMB":128,"ImageSizeMB":60,"PackageType":"Image"}`. A GatewayID may be a URL; with a port and nothing else it is http, otherwise https.
 * The functions may be the original's or ours; since the original's can't tell time, what a millisecond is to them is measured first (calibrate.ts).
 *
 *   E1. A sub-experiment gets endpoints of its PackageType, its memory, and for Zip within IMAGE_MB_OFF of its size; each is used once, until it is released. Plain URLs match anything.
 *   E2. A chain of length L takes L endpoints. When there are too few, none is taken, and the error says how many of what are missing, and where.
 *   E3. Every problem of a file is reported with file, line and field; there are no others.
 */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import { locate, placeOf, plainValue, readJson } from '../json-text.ts'
import type { Capabilities, Endpoint, Limitation, PrepareOptions, Provider } from '../provider.ts'
import { incrementsPerMs } from './calibrate.ts'
import { askEachOnce } from './deployments.ts'
import { limitationsOf, refuseImpossible } from './limitations.ts'
import type { Offer } from './limitations.ts'
import { sendTo } from './send.ts'
import { fieldsFor, plainAnswer, transferOf, withQuery } from './stellar-protocol.ts'

export const IMAGE_MB_OFF = 5
const FILE_CHARACTERS_MAX = 4 * 1024 * 1024
const PROBLEMS_MAX = 20
/** What vHive's functions call theirs; others ignore the name. */
const BUCKET = 'mybucket'

export interface Service {
  /** How functions of a chain call it. */
  readonly id: string
  readonly origin: string
  readonly path: string
  /** For the header Host, where a gateway tells services apart by it. */
  readonly host: string | undefined
  /** Undefined of a plain URL: nobody has said. */
  readonly like: { readonly memoryMb: number; readonly imageMb: number; readonly packageType: string } | undefined
}

export interface EndpointsOptions {
  /** As in the field Provider. */
  readonly name: string
  readonly services: readonly Service[]
  /** Where they are from: a file's name. */
  readonly source: string
  readonly bucket?: string | undefined
  /** What else a person should know of these functions. */
  readonly note?: string
}

const endpointsFile = z.array(z.strictObject({
  GatewayID: z.string().max(4096).refine((id) => addressOf(id) !== undefined, 'is no address; write host:port, or a URL'),
  FunctionMemoryMB: z.int().min(1).max(1_000_000).default(128),
  ImageSizeMB: z.number().min(0).max(1_000_000).default(0),
  PackageType: z.enum(['Zip', 'Image', 'Container']).default('Zip'),
})).min(1).max(100_000)

/** E3. Throws JSON_INVALID and INPUT_INVALID. */
export function parseEndpoints(text: string, file: string): readonly Service[] {
  if (text.length > FILE_CHARACTERS_MAX) throw new PlatformError('INPUT_INVALID', `${file}: ${text.length} characters, at most ${FILE_CHARACTERS_MAX}: is it a file of endpoints?`)
  const root = readJson(text, file)
  const parsed = endpointsFile.safeParse(plainValue(root))
  if (parsed.success) return parsed.data.map(({ GatewayID, FunctionMemoryMB, ImageSizeMB, PackageType }) => ({ id: GatewayID, ...addressOf(GatewayID)!, host: undefined, like: { memoryMb: FunctionMemoryMB, imageMb: ImageSizeMB, packageType: PackageType } }))
  const problems = parsed.error.issues.slice(0, PROBLEMS_MAX).flatMap((issue) => {
    const paths = issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key]) : [issue.path]
    return paths.map((path) => `${file}:${placeOf(text, locate(root, path)).line}: ${fieldName(path)}: ${issue.code === 'unrecognized_keys' ? `is none of ${Object.keys(endpointsFile.element.shape).join(', ')}` : issue.message}`)
  })
  throw new PlatformError('INPUT_INVALID', problems.join('\n'), { details: { file } })
}

/** @throws INPUT_INVALID for one that is no http or https URL. */
export function servicesOf(urls: readonly string[]): readonly Service[] {
  return urls.map((url) => {
    const address = /^https?:\/\//.test(url) ? addressOf(url) : undefined
    if (address === undefined) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(url.slice(0, 200))} is no address of an endpoint; give one like http://127.0.0.1:8080/path.`)
    return { id: url, ...address, host: undefined, like: undefined }
  })
}

export class EndpointsProvider implements Provider {
  readonly name: string
  readonly capabilities: Capabilities
  readonly about: Readonly<Record<string, string>>
  readonly #options: EndpointsOptions
  readonly #offer: Offer
  readonly #free: Set<Service>
  readonly #taken = new Map<number, readonly Service[]>()

  constructor(options: EndpointsOptions) {
    this.name = options.name
    this.#options = options
    this.capabilities = { deploys: false, coldStarts: 'keep-alive-fixed', transfers: ['none', 'inline', 'storage'], runtimes: [], imageSize: true, memory: true, phases: [] }
    this.#offer = { name: `${options.name} (${options.source})`, capabilities: this.capabilities }
    this.about = { endpoints: `${options.services.length} of ${options.source}` }
    this.#free = new Set(options.services)
  }

  cannot(one: SubExperiment): readonly Limitation[] {
    const { note } = this.#options
    return limitationsOf(one, this.#offer).map((limitation) => (limitation.field === 'Function' && note !== undefined ? { ...limitation, message: `${limitation.message}; ${note}` } : limitation))
  }

  async prepare(one: SubExperiment, options: PrepareOptions): Promise<readonly Endpoint[]> {
    refuseImpossible(one, this.#offer)
    const services = this.#take(one)
    try {
      const length = one.DataTransferChainLength
      const chains = Array.from({ length: one.Parallelism }, (_, endpoint) => services.slice(endpoint * length, (endpoint + 1) * length))
      const make = (perMs: number): readonly Endpoint[] => chains.map(([first, ...rest]) => this.#endpoint(first!, rest, one, perMs))
      const isBusy = one.DesiredServiceTimes.some(({ ms }) => ms > 0)
      await askEachOnce(make(0), one, options)
      if (!isBusy) return make(0)
      options.progress('measuring what a millisecond is to the function')
      // They are alike: what one spins, all do.
      const perMs = await incrementsPerMs(async (increments) => {
        const [probe] = make(increments)
        const startMs = performance.now()
        probe!.readAnswer(await sendTo(probe!, probe!.request({ serviceTimeMs: 1, payloadBytes: 0 }), options.signal))
        return performance.now() - startMs
      })
      return make(perMs)
    } catch (error) {
      await this.release(one)
      throw error
    }
  }

  async release({ index }: Pick<SubExperiment, 'index'>): Promise<void> {
    for (const service of this.#taken.get(index) ?? []) this.#free.add(service)
    this.#taken.delete(index)
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** E1, E2. */
  #take(one: SubExperiment): readonly Service[] {
    const needed = one.Parallelism * one.DataTransferChainLength
    const fitting = [...this.#free].filter((service) => fits(service, one)).slice(0, needed)
    if (fitting.length < needed) {
      const size = one.PackageType === 'Zip' ? `, ${one.FunctionImageSizeMB} MB ± ${IMAGE_MB_OFF} MB large` : ''
      const of = `${needed} endpoints (Parallelism ${one.Parallelism} × chain ${one.DataTransferChainLength}) with ${one.PackageType}, ${one.FunctionMemoryMB} MB memory${size}`
      throw new PlatformError('INPUT_INVALID', `${this.#options.source}: ${of} are needed, and ${fitting.length} are free of ${this.#options.services.length} in all; add some, or lower Parallelism.`)
    }
    for (const service of fitting) this.#free.delete(service)
    this.#taken.set(one.index, fitting)
    return fitting
  }

  #endpoint(first: Service, rest: readonly Service[], one: SubExperiment, perMs: number): Endpoint {
    const options = { chain: rest.map(({ id }) => id), transfer: transferOf(one), bucket: this.#options.bucket ?? BUCKET, incrementsPerMs: perMs }
    const headers = first.host === undefined ? {} : { host: first.host }
    return {
      host: first.host ?? new URL(first.origin).host,
      transport: { kind: 'http', origin: first.origin },
      request: (parameters) => ({ method: 'GET', path: withQuery(first.path, fieldsFor(parameters, options)), headers, body: undefined }),
      readAnswer: (raw) => plainAnswer(raw, rest.length + 1),
    }
  }
}

/** E1. */
export function fits({ like }: Service, one: Pick<SubExperiment, 'PackageType' | 'FunctionMemoryMB' | 'FunctionImageSizeMB'>): boolean {
  if (like === undefined) return true
  const sizeFits = one.PackageType !== 'Zip' || Math.abs(like.imageMb - one.FunctionImageSizeMB) <= IMAGE_MB_OFF
  return like.packageType === one.PackageType && like.memoryMb === one.FunctionMemoryMB && sizeFits
}

export function addressOf(id: string): { readonly origin: string; readonly path: string } | undefined {
  const url = URL.parse(/^https?:\/\//.test(id) ? id : `${/^[\w.-]+:\d+$/.test(id) ? 'http' : 'https'}://${id}`)
  // Of one with a user's name, the host is not what it looks like.
  if (url === null || /[\s\u0000-\u001f@]/.test(id) || url.hash !== '') return undefined
  return { origin: url.origin, path: `${url.pathname}${url.search}` }
}

function fieldName(path: readonly PropertyKey[]): string {
  return path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step).slice(0, 60)}`)).join('') || 'the file'
}
