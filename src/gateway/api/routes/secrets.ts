/** Secrets: set and listed, never read back. */
import * as z from 'zod'
import { secretMissing } from '#registry/secrets.ts'
import { nothing, route } from '../route.ts'
import type { Route } from '../route.ts'
import { secretInput, secretView } from '../schemas.ts'

const shared = { tag: 'secrets', access: 'key', namespaced: true } as const

export const secretRoutes: readonly Route[] = [
  route({
    ...shared,
    method: 'PUT',
    path: '/v1/secrets/{secret}',
    summary: 'Set or replace a secret; instances that start from now on get it',
    body: secretInput,
    answers: { 200: { description: 'Stored, encrypted.', schema: secretView } },
    handle: async ({ services, namespace, params, body }) => ({ status: 200, value: await services.secrets.put(namespace, params['secret']!, body.value) }),
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/v1/secrets',
    summary: 'The names of the secrets',
    answers: { 200: { description: 'By name, without values.', schema: z.object({ secrets: z.array(secretView) }) } },
    handle: async ({ services, namespace }) => ({ status: 200, value: { secrets: await services.secrets.list(namespace) } }),
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/v1/secrets/{secret}',
    summary: 'Whether a secret is set',
    answers: { 200: { description: 'Without its value.', schema: secretView } },
    async handle({ services, namespace, params }) {
      const secret = await services.secrets.get(namespace, params['secret']!)
      if (secret === undefined) throw secretMissing(namespace, params['secret']!)
      return { status: 200, value: secret }
    },
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/v1/secrets/{secret}',
    summary: 'Delete a secret',
    answers: { 204: { description: 'Deleted.' } },
    async handle({ services, namespace, params }) {
      await services.secrets.delete(namespace, params['secret']!)
      return nothing
    },
  }),
]
