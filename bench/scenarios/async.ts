/**
 * Question: how many asynchronous invocations a second are accepted durably, and are all of them executed?
 *
 * Method: 32 connections (wrk, pinned to core 0) post for some seconds with `Prefer: respond-async`; then the queue is
 * watched until it is empty. The function appends each invocation's id to nothing but its own answer; executed ones are
 * counted from the invocation records, each id once: fewer than accepted are lost, more attempts than one are duplicates.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { round } from '../kit/figures.ts'
import { startPlatform } from '../kit/server.ts'
import { wrk } from '../kit/wrk.ts'

const JOB = `export function main(params) { return { done: params.n } }`

export default async function asynchronous(context: BenchContext): Promise<BenchResult> {
  const seconds = context.quick ? 1 : 8
  await using platform = await startPlatform()
  await platform.deploy('job', { filename: 'job.mjs', text: JOB })
  const directory = await mkdtemp(join(tmpdir(), 'skep-bench-'))
  const script = join(directory, 'post.lua')
  await writeFile(script, `wrk.method = "POST"\nwrk.body = '{"n":1}'\n`)
  const headers = { authorization: `Bearer ${platform.key}`, 'content-type': 'application/json', prefer: 'respond-async' }
  const url = `${platform.url}/fn/${platform.namespace}/job`

  context.step('accepting')
  const sinceMs = Date.now()
  const result = await wrk({ url, connections: 32, seconds, headers, script, core: 0 })
  await rm(directory, { recursive: true, force: true })
  if (result.errors > 0) throw new Error(`${result.errors} requests were not accepted`)

  context.step('executing')
  const drainStartMs = performance.now()
  for (;;) {
    const { waiting, claimed } = await platform.json<{ waiting: number; claimed: number }>('/v1/async')
    if (waiting + claimed === 0) break
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const drainS = (performance.now() - drainStartMs) / 1000

  context.step('counting')
  await new Promise((resolve) => setTimeout(resolve, 500))
  const runs = new Map<string, number>()
  let cursor: string | undefined
  do {
    const page = await platform.json<{ invocations: { id: string }[]; cursor?: string }>(
      `/v1/invocations?function=job&since=${sinceMs}&limit=1000${cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    )
    for (const { id } of page.invocations) runs.set(id, (runs.get(id) ?? 0) + 1)
    cursor = page.cursor
  } while (cursor !== undefined)
  // Those that wrk had sent and did not wait for when its time was over are accepted too: up to one per connection.
  const executed = runs.size
  return {
    figures: {
      accepted_per_s: Math.round(result.rps),
      accepted: result.requests,
      executed,
      lost: Math.max(0, result.requests - executed),
      duplicated: [...runs.values()].filter((count) => count > 1).length,
      accept_p50_us: result.p50Us,
      accept_p99_us: result.p99Us,
      drained_after_s: round(drainS),
    },
  }
}
