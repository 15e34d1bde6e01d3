/** What a client wants to know about the platform and itself. */
import * as z from 'zod'
import { namespaceFor } from '../../authentication.ts'
import { route } from '../route.ts'
import type { Route } from '../route.ts'
import { keyRole, quotas } from '../schemas.ts'

export const aboutRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/whoami',
    summary: 'What this key is and may do',
    tag: 'about',
    access: 'key',
    namespaced: false,
    answers: {
      200: {
        description: 'The key\'s namespace, role and quotas.',
        schema: z.object({ namespace: z.string(), keyId: z.string(), keyName: z.string(), role: keyRole, quotas: z.object(quotas.shape), version: z.string() }),
      },
    },
    handle({ services, principal }) {
      const { namespace, keyId, role } = principal
      const keyName = services.namespaces.key(keyId)?.name ?? ''
      return { status: 200, value: { namespace, keyId, keyName, role, quotas: services.namespaces.required(namespace).quotas, version: services.version } }
    },
  }),
  route({
    method: 'GET',
    path: '/v1/stats',
    summary: 'Figures: of the whole platform for an admin key, otherwise of the own namespace',
    tag: 'about',
    access: 'key',
    namespaced: false,
    query: z.strictObject({ namespace: z.string().max(64).optional().describe('For an admin key: of this namespace only.') }),
    answers: { 200: { description: 'Figures by name.', schema: z.looseObject({}) } },
    async handle({ services, principal, query }) {
      // Without a namespace an admin sees everything.
      const everything = principal.role === 'admin' && query.namespace === undefined
      const namespace = everything ? undefined : services.namespaces.required(namespaceFor(principal, query.namespace)).name
      return { status: 200, value: { ...(await services.stats(namespace)) } }
    },
  }),
]
