/** Credentials for S3 clients: made and listed, their secrets never read back. */
import * as z from 'zod'
import { nothing, route } from '../route.ts'
import type { Route } from '../route.ts'
import { keyName, s3CredentialView } from '../schemas.ts'

const shared = { tag: 's3', access: 'key', namespaced: true } as const

export const s3Routes: readonly Route[] = [
  route({
    ...shared,
    method: 'POST',
    path: '/v1/s3/credentials',
    summary: 'Make credentials for S3 clients, which open the buckets of the namespace',
    body: z.strictObject({ name: keyName.default('s3').describe('What it is for.') }),
    answers: { 201: { description: 'Made.', schema: s3CredentialView.extend({ secretAccessKey: z.string().describe('It can\'t be had again.') }) } },
    handle: async ({ services, namespace, body }) => ({ status: 201, value: await services.s3.credentials.create(namespace, body.name) }),
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/v1/s3/credentials',
    summary: 'The credentials for S3 clients',
    answers: { 200: { description: 'Oldest first, without secrets.', schema: z.object({ credentials: z.array(s3CredentialView) }) } },
    handle: ({ services, namespace }) => ({ status: 200, value: { credentials: services.s3.credentials.list(namespace) } }),
  }),
  route({
    ...shared,
    method: 'DELETE',
    path: '/v1/s3/credentials/{accessKey}',
    summary: 'Revoke credentials',
    answers: { 204: { description: 'Revoked: the next request with them is refused.' } },
    async handle({ services, namespace, params }) {
      await services.s3.credentials.revoke(namespace, params['accessKey']!)
      return nothing
    },
  }),
  route({
    ...shared,
    method: 'GET',
    path: '/v1/s3/usage',
    summary: 'How many bytes the buckets of the namespace hold',
    answers: { 200: { description: 'With unfinished uploads.', schema: z.object({ bytes: z.int(), bytesMax: z.int().describe('The quota `storageBytes`.'), buckets: z.int() }) } },
    async handle({ services, namespace }) {
      const { buckets } = services.s3
      return { status: 200, value: { bytes: await buckets.usage.bytes(namespace), bytesMax: buckets.usage.bytesMax(namespace), buckets: buckets.list(namespace).length } }
    },
  }),
]
