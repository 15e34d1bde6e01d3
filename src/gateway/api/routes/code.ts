/** Code: uploaded as a tar, named by its digest, then used by a deployment. */
import * as z from 'zod'
import { codeMissing } from '#registry/code-store.ts'
import { route } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { digest } from '../schemas.ts'

const codeView = z.object({ digest, bytes: z.int() })

export const codeRoutes: readonly Route[] = [
  route({
    method: 'POST',
    path: '/v1/code',
    summary: 'Upload code: a plain tar of its files',
    tag: 'code',
    access: 'key',
    namespaced: true,
    rawBody: 'application/x-tar',
    answers: { 201: { description: 'Stored; kept for a day until a deployment uses it.', schema: codeView } },
    async handle(call) {
      const { quotas } = call.services.namespaces.required(call.namespace)
      const source = call.request.iterator({ destroyOnReturn: false })
      const { digest, bytes } = await call.services.functions.code.upload(call.namespace, source, { bytesMax: quotas.codeBytes })
      return { status: 201, value: { digest, bytes } }
    },
  }),
  ...(['GET', 'HEAD'] as const).map((method) =>
    route({
      method,
      path: '/v1/code/{digest}',
      summary: 'Whether this code is here, so that it need not be uploaded again',
      tag: 'code',
      access: 'key',
      namespaced: true,
      answers: { 200: { description: 'It is here.', schema: codeView } },
      async handle(call: Call<unknown, unknown>) {
        const blob = await call.services.functions.code.find(call.namespace, call.params['digest']!)
        if (blob === undefined) throw codeMissing(call.params['digest']!)
        return { status: 200, value: { digest: blob.digest, bytes: blob.bytes } }
      },
    }),
  ),
]
