/** Functions: deploy, list, inspect, delete, revisions, rollback, traffic. */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { functionConfig, isFaaslet } from '#contract/function-config.ts'
import type { FunctionEntity, FunctionKind } from '#contract/function-config.ts'
import { packFile } from '#registry/code-archive.ts'
import { stripTypes } from '#registry/strip-types.ts'
import { functionMissing } from '#registry/functions.ts'
import { checkUploadedEntry, prepareAhead, prepareForTraffic } from '../deployment.ts'
import { checkInput } from '../input.ts'
import { nothing, route } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { deployAnswer, deployInput, functionSummary, functionView, limit, revisionNumber, revisionView, traffic } from '../schemas.ts'

type AnyCall = Call<unknown, unknown>

export const functionRoutes: readonly Route[] = [
  route({
    method: 'PUT',
    path: '/v1/functions/{name}',
    summary: 'Deploy a function: makes a revision, unless the latest one is exactly this',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    body: deployInput,
    answers: {
      200: { description: 'This code and configuration was the latest revision already.', schema: deployAnswer },
      201: { description: 'A new revision.', schema: deployAnswer },
    },
    handle: deploy,
  }),
  route({
    method: 'GET',
    path: '/v1/functions',
    summary: 'List functions',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    query: z.strictObject({ limit: limit(1000, 10_000), cursor: z.string().max(64).optional().describe('Of the page before.') }),
    answers: { 200: { description: 'By name.', schema: z.object({ functions: z.array(functionSummary), cursor: z.string().optional() }) } },
    handle(call) {
      const { cursor, limit } = call.query
      const rest = call.services.functions.list(call.namespace).filter((entity) => cursor === undefined || entity.name > cursor)
      const functions = rest.slice(0, limit).map((entity) => summarise(call, entity))
      return { status: 200, value: { functions, ...(rest.length > limit && { cursor: functions.at(-1)!.name }) } }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/functions/{name}',
    summary: 'One function',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    answers: { 200: { description: 'The function and its latest revision.', schema: functionView } },
    handle: (call) => ({ status: 200, value: view(call) }),
  }),
  route({
    method: 'DELETE',
    path: '/v1/functions/{name}',
    summary: 'Delete a function, its revisions and their code',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    answers: { 204: { description: 'Deleted.' } },
    async handle(call) {
      await call.services.functions.delete(call.namespace, call.params['name']!)
      return nothing
    },
  }),
  route({
    method: 'GET',
    path: '/v1/functions/{name}/revisions',
    summary: 'The revisions of a function that are kept',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    answers: { 200: { description: 'Newest first.', schema: z.object({ revisions: z.array(revisionView) }) } },
    async handle(call) {
      const revisions = await call.services.functions.revisions(call.namespace, call.params['name']!)
      return { status: 200, value: { revisions: revisions.reverse() } }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/functions/{name}/rollback',
    summary: 'Give all traffic to an earlier revision',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    body: z.strictObject({ revision: revisionNumber.optional().describe('Default: the newest before those that have traffic now.') }).default({}),
    answers: { 200: { description: 'The function as it is now.', schema: functionView } },
    async handle(call) {
      await call.services.functions.rollback(call.namespace, call.params['name']!, call.body.revision)
      return { status: 200, value: view(call) }
    },
  }),
  route({
    method: 'PUT',
    path: '/v1/functions/{name}/traffic',
    summary: 'Split the traffic between revisions',
    tag: 'functions',
    access: 'key',
    namespaced: true,
    body: traffic.describe('Weights add up to 100.'),
    answers: { 200: { description: 'The function as it is now.', schema: functionView } },
    async handle(call) {
      await call.services.functions.setTraffic(call.namespace, call.params['name']!, call.body)
      return { status: 200, value: view(call) }
    },
  }),
  // A name with a slash would otherwise be an unknown route, which helps nobody who deploys.
  ...(['PUT', 'DELETE'] as const).map((method) =>
    route({
      method,
      path: '/v1/functions/*',
      summary: 'Refuses a name with a slash',
      tag: 'hidden',
      access: 'key',
      namespaced: true,
      query: z.looseObject({}) as unknown as z.ZodObject,
      answers: {},
      handle(call) {
        throw new PlatformError('NAME_INVALID', `${JSON.stringify(call.params['*']!.slice(0, 80))} can't name a function: a name has no slash.`)
      },
    }),
  ),
]

async function deploy(call: Call<unknown, z.output<typeof deployInput>>) {
  const { namespace, services } = call
  const name = call.params['name']!
  const { code, source: sent, activate, prepare, ...given } = call.body
  const source = sent === undefined ? undefined : await stripTypes(sent)
  const entry = source !== undefined && (given.entry ?? sent!.filename) === sent!.filename ? source.filename : given.entry!
  const config = checkInput(functionConfig, { ...given, kind: given.kind ?? kindOf(entry), entry }, 'body')
  const { quotas } = services.namespaces.required(namespace)
  if (config.memoryMb > quotas.memoryMb) {
    throw new PlatformError(
      'INPUT_INVALID',
      `memoryMb: ${config.memoryMb} MB is more than the ${quotas.memoryMb} MB that namespace ${namespace} may use; ask for less, or have an admin raise the quota.`,
    )
  }
  if (config.snapshotAfter > 0 && config.secrets.length > 0) {
    throw new PlatformError(
      'INPUT_INVALID',
      `snapshotAfter: ${config.snapshotAfter} would keep the function's secrets (${config.secrets.join(', ')}) on the disk, in the memory of an instance that has used them; leave it out, or deploy without secrets.`,
    )
  }
  for (const secret of config.secrets) {
    if ((await services.secrets.get(namespace, secret)) === undefined) {
      throw new PlatformError(
        'INPUT_INVALID',
        `secrets: namespace ${namespace} has no secret ${secret}; put it with PUT /v1/secrets/${secret} first.`,
        { details: { secret } },
      )
    }
  }
  let stored = code
  if (source === undefined) {
    if (isFaaslet(config.kind)) await checkUploadedEntry(services, namespace, name, config, code!)
  } else {
    if (isFaaslet(config.kind)) await services.deployments.check(config, oneChunk(Buffer.from(source.text)))
    const tar = await packFile(source.filename, source.text, { executable: config.kind === 'command' || config.kind === 'http' })
    stored = (await services.functions.code.upload(namespace, oneChunk(tar), { bytesMax: quotas.codeBytes })).digest
  }
  // A first revision has the traffic from the beginning: nobody else has it.
  const activateLater = prepare && activate && services.functions.get(namespace, name) !== undefined
  const { revision, created } = await services.functions.deploy({ namespace, name, config, code: stored!, activate: activate && !activateLater })
  if (prepare) await prepareForTraffic(services, revision, { activate: activateLater })
  else if (created && isFaaslet(config.kind)) prepareAhead(services, revision)
  return { status: created ? 201 : 200, value: { ...view(call), deployed: revision.number, created } }
}

/** From the file's extension; a program when it says nothing. */
export function kindOf(entry: string): FunctionKind {
  if (/\.([cm]?[jt]s|[jt]sx)$/.test(entry)) return 'node'
  if (entry.endsWith('.wasm')) return 'wasm'
  return entry.endsWith('.py') ? 'python' : 'command'
}

function view(call: AnyCall) {
  const name = call.params['name']!
  const entity = call.services.functions.get(call.namespace, name)
  if (entity === undefined) throw functionMissing(call.namespace, name)
  return { ...summarise(call, entity), latest: latestOf(call, entity) }
}

function summarise(call: AnyCall, entity: FunctionEntity) {
  const { namespace, name, traffic, latest, createdAtMs, updatedAtMs } = entity
  const { kind, public: isPublic } = latestOf(call, entity).config
  const instances = call.services.instances(namespace, name)
  const url = `${origin(call)}/fn/${namespace}/${name}`
  return { namespace, name, url, kind, public: isPublic, revision: latest, traffic, instances, createdAtMs, updatedAtMs }
}

function latestOf(call: AnyCall, entity: FunctionEntity) {
  const latest = call.services.functions.latest(entity.namespace, entity.name)
  if (latest === undefined) throw functionMissing(entity.namespace, entity.name)
  return latest
}

function origin(call: AnyCall): string {
  if (call.services.publicUrl !== undefined) return call.services.publicUrl.replace(/\/$/, '')
  const host = call.request.headers.host ?? ''
  // What a client puts there is shown back to it only if it looks like a host.
  return /^[\w.:[\]-]{1,255}$/.test(host) ? `http://${host}` : ''
}

async function* oneChunk(chunk: Buffer) {
  yield chunk
}
