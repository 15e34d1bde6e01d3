/** Namespaces, their quotas and keys. */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { functionName } from '#contract/function-config.ts'
import type { KeyEntity, NamespaceQuotas } from '#registry/namespaces.ts'
import { namespaceFor } from '../../authentication.ts'
import { nothing, route } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { keyName, keyRole, keyView, namespaceView, quotas } from '../schemas.ts'

const tag = 'namespaces'
const secretKey = z.string().describe('The key itself. It can\'t be had again.')

export const namespaceRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/namespaces',
    summary: 'List namespaces: all for an admin key, otherwise the own',
    tag,
    access: 'key',
    namespaced: false,
    answers: { 200: { description: 'By name.', schema: z.object({ namespaces: z.array(namespaceView) }) } },
    handle({ services, principal }) {
      const visible = services.namespaces.list().filter((namespace) => principal.role === 'admin' || namespace.name === principal.namespace)
      return { status: 200, value: { namespaces: visible } }
    },
  }),
  route({
    method: 'POST',
    path: '/v1/namespaces',
    summary: 'Create a namespace with a first key',
    tag,
    access: 'admin',
    namespaced: false,
    body: z.strictObject({ name: functionName, quotas: quotas.partial().optional() }),
    answers: { 201: { description: 'Created.', schema: z.object({ namespace: namespaceView, key: secretKey }) } },
    async handle({ services, body }) {
      const namespace = await services.namespaces.create(body.name, given(body.quotas ?? {}))
      const { key } = await services.namespaces.createKey({ namespace: body.name, name: 'first', role: 'namespace' })
      return { status: 201, value: { namespace, key } }
    },
  }),
  route({
    method: 'PUT',
    path: '/v1/namespaces/{name}/quotas',
    summary: 'Change quotas; those not given stay',
    tag,
    access: 'admin',
    namespaced: false,
    body: quotas.partial(),
    answers: { 200: { description: 'The namespace as it is now.', schema: namespaceView } },
    handle: async ({ services, params, body }) => ({ status: 200, value: await services.namespaces.setQuotas(params['name']!, given(body)) }),
  }),
  route({
    method: 'DELETE',
    path: '/v1/namespaces/{name}',
    summary: 'Delete a namespace with its functions, secrets, buckets and keys',
    tag,
    access: 'admin',
    namespaced: false,
    answers: { 204: { description: 'Deleted.' } },
    async handle({ services, params, principal }) {
      const name = params['name']!
      services.namespaces.required(name)
      if (name === principal.namespace) {
        throw new PlatformError(
          'FORBIDDEN',
          `This key belongs to namespace ${name} and can't delete it from under itself; use an admin key of another namespace.`,
        )
      }
      for (const entity of services.functions.list(name)) await services.functions.delete(name, entity.name)
      await services.secrets.deleteAll(name)
      await services.s3.credentials.deleteAll(name)
      await services.s3.buckets.deleteAll(name)
      await services.namespaces.delete(name)
      return nothing
    },
  }),
  route({
    method: 'GET',
    path: '/v1/namespaces/{name}/keys',
    summary: 'List the keys of a namespace',
    tag,
    access: 'key',
    namespaced: false,
    answers: { 200: { description: 'Oldest first, without their secrets.', schema: z.object({ keys: z.array(keyView) }) } },
    handle: (call) => ({ status: 200, value: { keys: call.services.namespaces.keys(namespaceOf(call)).map(viewKey) } }),
  }),
  route({
    method: 'POST',
    path: '/v1/namespaces/{name}/keys',
    summary: 'Create a key',
    tag,
    access: 'key',
    namespaced: false,
    body: z.strictObject({ name: keyName, role: keyRole.default('namespace').describe('Only an admin key can create an admin key.') }),
    answers: { 201: { description: 'Created.', schema: keyView.extend({ key: secretKey }) } },
    async handle(call) {
      const namespace = namespaceOf(call)
      if (call.body.role === 'admin') mustBeAdmin(call.principal.role, 'create an admin key')
      const { entity, key } = await call.services.namespaces.createKey({ namespace, name: call.body.name, role: call.body.role })
      return { status: 201, value: { ...viewKey(entity), key } }
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/namespaces/{name}/keys/{key}',
    summary: 'Revoke a key',
    tag,
    access: 'key',
    namespaced: false,
    answers: { 204: { description: 'Revoked: the next request with it is refused.' } },
    async handle(call) {
      const namespace = namespaceOf(call)
      const id = call.params['key']!
      if (call.services.namespaces.key(id)?.role === 'admin') mustBeAdmin(call.principal.role, 'revoke an admin key')
      await call.services.namespaces.revokeKey(namespace, id)
      return nothing
    },
  }),
]

export function mustBeAdmin(role: KeyEntity['role'], what: string): void {
  if (role !== 'admin') throw new PlatformError('FORBIDDEN', `Only an admin key may ${what}; this one has the role "${role}".`)
}

/** The one in the path, if this key may act in it. */
function namespaceOf(call: Call<unknown, unknown>): string {
  return call.services.namespaces.required(namespaceFor(call.principal, call.params['name']!)).name
}

function viewKey({ id, namespace, name, role, createdAtMs }: KeyEntity) {
  return { id, namespace, name, role, createdAtMs }
}

function given(quotas: { readonly [Name in keyof NamespaceQuotas]?: number | undefined }): Partial<NamespaceQuotas> {
  return Object.fromEntries(Object.entries(quotas).filter(([, value]) => value !== undefined))
}
