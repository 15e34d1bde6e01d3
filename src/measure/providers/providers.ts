/**
 * All providers by name, and what each needs to be told.
 *
 * Names are those of STeLLAR's field Provider, and our own. A cloud for which nothing here deploys is measured at the endpoints that somebody has deployed there.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { Provider } from '../provider.ts'
import { AwsLambdaProvider } from './aws-lambda.ts'
import { EndpointsProvider, parseEndpoints, servicesOf } from './endpoints.ts'
import { knativeProvider } from './knative.ts'
import { OpenWhiskProvider } from './openwhisk.ts'
import { SkepProvider } from './skep.ts'
import { WorkerdProvider } from './workerd.ts'

/** What a person has said of the place; what a provider needs and has not is an error that names it. */
export interface ProviderOptions {
  /** Address of Skep, or of OpenWhisk's API host; of AWS's only for an emulator. */
  readonly url?: string | undefined
  /** Skep's API key, or OpenWhisk's `uuid:key`. */
  readonly key?: string | undefined
  readonly namespace?: string | undefined
  /** Directory of STeLLAR's endpoints files, its option -g. */
  readonly endpointsDirectory?: string | undefined
  /** Plain addresses, in place of a file. */
  readonly endpoints?: readonly string[] | undefined
  /** The header Host for addresses of a Knative gateway, one for each. */
  readonly hosts?: readonly string[] | undefined
  readonly bucket?: string | undefined
  readonly region?: string | undefined
  readonly role?: string | undefined
  readonly reservedConcurrency?: number | undefined
  readonly workerd?: string | undefined
  readonly environment: Readonly<Record<string, string | undefined>>
}

type Maker = (options: ProviderOptions) => Promise<Provider>

export const providers: Readonly<Record<string, Maker>> = {
  skep: async (options) => SkepProvider.open({ url: needed(options, 'skep', 'url', 'SKEP_URL or --url'), key: needed(options, 'skep', 'key', 'SKEP_KEY or --key'), namespace: options.namespace }),
  endpoints: (options) => atEndpoints('endpoints', options),
  openwhisk: async (options) => OpenWhiskProvider.open({ apiHost: needed(options, 'openwhisk', 'url', '--url'), auth: needed(options, 'openwhisk', 'key', '--key') }),
  knative: async (options) => {
    const { hosts } = options
    const urls = options.endpoints ?? []
    if (urls.length === 0) throw missing('knative', '--endpoint')
    if (hosts !== undefined && hosts.length !== urls.length) throw new PlatformError('INPUT_INVALID', `${hosts.length} hosts for ${urls.length} endpoints; give one host for each, or none.`)
    return knativeProvider(urls.map((url, index) => ({ url, host: hosts?.[index] })))
  },
  workerd: async ({ workerd, environment }) => new WorkerdProvider(workerd, environment),
  // With endpoints it is measured there; otherwise it is deployed to.
  aws: async (options) => (hasEndpoints(options) ? atEndpoints('aws', options) : AwsLambdaProvider.open({
    region: needed(options, 'aws', 'region', '--region'),
    role: needed(options, 'aws', 'role', '--role'),
    endpoint: options.url,
    bucket: options.bucket,
    reservedConcurrency: options.reservedConcurrency,
  })),
  vhive: (options) => atEndpoints('vHive', options),
  google: (options) => atEndpoints('google', options),
  gcr: (options) => atEndpoints('gcr', options),
  azure: (options) => atEndpoints('azure', options),
  cloudflare: (options) => atEndpoints('cloudflare', options),
  aliyun: (options) => atEndpoints('aliyun', options),
}

/** @throws INPUT_INVALID for a name that is none, or an option that is missing; what the place answers. */
export async function openProvider(name: string, options: ProviderOptions): Promise<Provider> {
  const maker = Object.hasOwn(providers, name.toLowerCase()) ? providers[name.toLowerCase()] : undefined
  if (maker === undefined) throw new PlatformError('INPUT_INVALID', `Provider: ${JSON.stringify(name.slice(0, 80))} is unknown; known are ${Object.keys(providers).join(', ')}.`)
  return maker(options)
}

function hasEndpoints({ endpoints, endpointsDirectory }: ProviderOptions): boolean {
  return endpoints !== undefined || endpointsDirectory !== undefined
}

/** @param name As the file is called. */
async function atEndpoints(name: string, options: ProviderOptions): Promise<EndpointsProvider> {
  const { endpoints, endpointsDirectory, bucket } = options
  if (endpoints !== undefined) return new EndpointsProvider({ name: name.toLowerCase(), services: servicesOf(endpoints), source: 'the addresses given', bucket })
  if (endpointsDirectory === undefined) throw missing(name.toLowerCase(), `--endpoint URL, or -g DIRECTORY with ${name}.json (nothing here deploys there)`)
  const file = join(endpointsDirectory, `${name}.json`)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new PlatformError('INPUT_INVALID', `${file} can't be read (${(cause as NodeJS.ErrnoException).code}); give the directory that has it with -g.`, { cause })
  })
  return new EndpointsProvider({ name: name.toLowerCase(), services: parseEndpoints(text, file), source: file, bucket })
}

function needed(options: ProviderOptions, provider: string, option: 'url' | 'key' | 'region' | 'role', how: string): string {
  const value = options[option]
  if (value === undefined || value === '') throw missing(provider, how)
  return value
}

function missing(provider: string, how: string): PlatformError {
  return new PlatformError('INPUT_INVALID', `Provider ${provider} needs ${how}.`)
}
