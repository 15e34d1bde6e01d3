/** Snapshots: which revisions have one, what it is like, and away with it. They are taken and used by themselves. */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { route } from '../route.ts'
import type { Call, Route } from '../route.ts'
import { revisionNumber, revisionQuery, snapshotDetails, snapshotSummary } from '../schemas.ts'

export const snapshotRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/v1/snapshots',
    summary: 'The snapshots of functions of kinds wasm and js',
    tag: 'snapshots',
    access: 'key',
    namespaced: true,
    answers: { 200: { description: 'By function and revision.', schema: z.object({ snapshots: z.array(snapshotSummary).readonly() }) } },
    handle: (call) => ({ status: 200, value: { snapshots: call.services.snapshots.list(call.namespace) } }),
  }),
  route({
    method: 'GET',
    path: '/v1/snapshots/{name}',
    summary: 'One snapshot of a function, with its contiguity and footprint',
    tag: 'snapshots',
    access: 'key',
    namespaced: true,
    query: z.strictObject({ revision: revisionQuery.optional().describe('Default: the newest revision that has a snapshot.') }),
    answers: { 200: { description: 'The snapshot.', schema: snapshotDetails } },
    async handle(call) {
      const name = call.params['name']!
      const newest = revisionsOf(call, name, call.query.revision).at(-1)!
      return { status: 200, value: await call.services.snapshots.show(call.namespace, name, newest) }
    },
  }),
  route({
    method: 'DELETE',
    path: '/v1/snapshots/{name}',
    summary: 'Drop snapshots of a function: its next start boots, and takes another',
    tag: 'snapshots',
    access: 'key',
    namespaced: true,
    query: z.strictObject({ revision: revisionQuery.optional().describe('Default: every revision that has a snapshot.') }),
    answers: { 200: { description: 'Of which revisions it was.', schema: z.object({ dropped: z.array(revisionNumber) }) } },
    handle(call) {
      const name = call.params['name']!
      const dropped = revisionsOf(call, name, call.query.revision)
      for (const revision of dropped) call.services.snapshots.drop(call.namespace, name, revision)
      return { status: 200, value: { dropped } }
    },
  }),
]

/** Ascending; at least one. @throws ENTITY_NOT_FOUND. */
function revisionsOf(call: Call<unknown, unknown>, name: string, wanted: number | undefined): number[] {
  const all = call.services.snapshots.list(call.namespace).filter((one) => one.function === name)
  const revisions = all.map((one) => one.revision).filter((revision) => wanted === undefined || revision === wanted)
  if (revisions.length > 0) return revisions.sort((a, b) => a - b)
  const which = wanted === undefined ? name : `${name}@${wanted}`
  const others = all.length === 0 ? 'Functions of kinds wasm and js get one with their first instance' : `There are those of revision ${all.map((one) => one.revision).join(', ')}`
  throw new PlatformError('ENTITY_NOT_FOUND', `There is no snapshot of ${which} in namespace ${call.namespace}. ${others}; GET /v1/snapshots lists all.`, { details: { function: name, ...(wanted !== undefined && { revision: wanted }) } })
}
