/**
 * Question: what does a call from function to function cost?
 *
 * Method: f answers alone, or asks g through the SDK and answers with what g said; both warm, one client (wrk, pinned to
 * core 0), in turn. The difference of the medians is the price of f(g(x)): leaving f's sandbox, the platform, g's sandbox
 * and back. Nightcore (ASPLOS 2021) needs 12 to 22 µs, in C++ with C functions.
 */
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, round } from '../kit/figures.ts'
import { startPlatform } from '../kit/server.ts'
import { wrk } from '../kit/wrk.ts'

const G = `export function main(params) { return { x: params.x + 1 } }`
const F = `import { invoke } from 'skep'
export default { async fetch(request) {
  const result = request.url.endsWith('/chain') ? await invoke('g', { x: 1 }) : { x: 2 }
  return Response.json(result)
} }`

export default async function chain(context: BenchContext): Promise<BenchResult> {
  const rounds = context.quick ? 1 : 7
  const seconds = context.quick ? 1 : 2
  await using platform = await startPlatform()
  await platform.deploy('g', { filename: 'g.mjs', text: G })
  await platform.deploy('f', { filename: 'f.mjs', text: F })
  const base = `${platform.url}/fn/${platform.namespace}/f`
  const headers = { authorization: `Bearer ${platform.key}` }
  const answer = await (await platform.request(`/fn/${platform.namespace}/f/chain`)).text()
  if (answer !== '{"x":2}') throw new Error(`f(g(x)) answered ${answer}`)
  for (const path of ['/alone', '/chain']) await wrk({ url: base + path, headers, connections: 4, seconds: 2 })

  const alone: number[] = []
  const chained: number[] = []
  for (let pass = 0; pass < rounds; pass++) {
    context.step(`round ${pass + 1} of ${rounds}`)
    alone.push((await wrk({ url: `${base}/alone`, headers, connections: 1, seconds, core: 0 })).p50Us)
    chained.push((await wrk({ url: `${base}/chain`, headers, connections: 1, seconds, core: 0 })).p50Us)
  }
  return {
    figures: { extra_p50_us: round(median(chained.map((us, pass) => us - alone[pass]!))), chained_p50_us: median(chained) },
    baselines: { alone_p50_us: median(alone) },
  }
}
