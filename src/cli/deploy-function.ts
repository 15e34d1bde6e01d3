/** Builds code, uploads it unless the platform has it, and makes a revision of it: what deploy, dev and demo share. */
import { buildFunction, packCode } from '#build/build-function.ts'
import type { BuildOptions, BuildSource } from '#build/build-function.ts'
import { isFaaslet } from '#contract/function-config.ts'
import type { FunctionConfigInput, FunctionKind } from '#contract/function-config.ts'
import type { ApiClient } from './api-client.ts'
import type { DeployAnswer } from './api-types.ts'

export interface DeployRequest {
  readonly name: string
  readonly source: BuildSource
  readonly build: BuildOptions
  /** Everything that the build does not find out. */
  readonly config: Omit<FunctionConfigInput, 'kind' | 'entry'>
  readonly activate?: boolean
  /** Whether to wait until a function of a faaslet kind is ready, and to leave the traffic where it is if it does not start. Default: no. */
  readonly wait?: boolean
  readonly step?: (text: string) => void
}

export interface Deployed {
  readonly function: string
  readonly namespace: string
  readonly revision: number
  /** False when this very code and configuration was deployed already. */
  readonly created: boolean
  readonly url: string
  readonly kind: FunctionKind
  readonly entry: string
  readonly digest: string
  readonly codeBytes: number
  readonly uploaded: boolean
  readonly buildMs: number
  readonly warnings: readonly string[]
  /** Files that the code came from, for watching. */
  readonly sources: readonly string[]
}

/** @throws CODE_INVALID and what the platform refuses. */
export async function deployFunction(client: ApiClient, request: DeployRequest): Promise<Deployed> {
  const step = request.step ?? ((): void => {})
  const startedMs = performance.now()
  step(`building ${request.name}`)
  const built = await buildFunction(request.source, request.build)
  const packed = await packCode(built.files)
  const buildMs = performance.now() - startedMs
  step(`uploading ${request.name}`)
  const { uploaded } = await client.upload(packed)
  const config = { ...request.config, kind: built.kind, entry: built.entry, ...(request.build.handler !== undefined && { handler: request.build.handler }) }
  const prepare = request.wait === true && isFaaslet(built.kind)
  if (prepare) step(`starting ${request.name}`)
  const answer = await client.json<DeployAnswer>('PUT', `/v1/functions/${encodeURIComponent(request.name)}`, {
    ...config,
    code: packed.digest,
    ...(request.activate === false && { activate: false }),
    ...(prepare && { prepare }),
  })
  return {
    function: request.name,
    namespace: answer.namespace,
    revision: answer.deployed,
    created: answer.created,
    url: answer.url,
    kind: built.kind,
    entry: built.entry,
    digest: packed.digest,
    codeBytes: packed.tar.length,
    uploaded,
    buildMs: Math.round(buildMs * 10) / 10,
    warnings: built.warnings,
    sources: built.sources,
  }
}
