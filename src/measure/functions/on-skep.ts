/** Adapter: on Skep, kind node. Chains go through its SDK, objects through its buckets or by its references; no network is needed. */
import { allocate, get, invoke, put } from 'skep'
import type { FetchHandler } from 'skep'
import { fieldsOf, preciseNow } from './work.ts'
import type { Links, Reply, Work } from './work.ts'

const shared: Omit<Links, 'requestId'> = {
  now: preciseNow,
  invoke: (id, fields) => invoke<Reply>(id, fields),
  put: (bucket, key, bytes) => put(bytes, { key: `s3://${bucket}/${key}` }),
  get: (bucket, key) => get(`s3://${bucket}/${key}`),
  allocate(bytes) {
    try {
      return allocate(bytes)
    } catch {
      // More than half of the function's memory: `put` copies or streams it.
      return new Uint8Array(bytes)
    }
  },
  putReference: (bytes) => put(bytes),
  getReference: (reference) => get(reference),
}

export function serve(work: Work): FetchHandler {
  return {
    async fetch(request, _environment, context) {
      const body = request.method === 'GET' ? '' : await request.text()
      const fields = fieldsOf(new URL(request.url).searchParams, body)
      return Response.json(await work(fields, { ...shared, requestId: context.invocationId ?? '' }))
    },
  }
}
