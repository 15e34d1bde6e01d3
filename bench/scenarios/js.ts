/**
 * Question: where should a JavaScript handler live: in a Node process, a worker thread, workerd or a faaslet? What does its first answer
 * take, what memory does it keep, what does a warm call take, and where does an interpreter lose against V8's compiler?
 *
 * Method: one file of handlers (kit/js-contenders/handlers.mjs) in all homes, samples of all homes in turn.
 *   cold      `node`, `workerd`: from starting the process to its answer over HTTP. `thread`: from `new Worker` in a running process to its answer.
 *             `faaslet`, `skep_node`: from the request to a Skep that runs, where the function has no instance (scaled to zero).
 *   memory    Proportional shares (Pss) of processes. `node`, `workerd`: of five at once, by five (`*_rss_mb`: all that is resident of one, shared
 *             pages too). `thread`, `faaslet`, `skep_node`, `workerd_more`: what the
 *             process, or Skep with all its processes, has more with N of them alive, by N. A faaslet is alive while its handler waits, all in one host; of
 *             Skep, that counts the connections and records of N waiting invocations too.
 *   warm      HTTP at one connection (wrk); `thread`: a message there and back. `faaslet` is a fresh instance for each, `faaslet_reused` is not.
 *   slower_*  the handler's own time (performance.now around it) in a faaslet, by its time in Skep's kind node, after warming up.
 *
 * Not measured: an additional worker in a workerd that runs (its configuration has no way for it); handlers in workerd by themselves (its clock
 * stands still while code computes); first calls of Node's code before V8 has compiled it.
 */
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, percentile, round } from '../kit/figures.ts'
import { familyMb, prepareWorkerd, source, startNode, startThreadHost } from '../kit/js-contenders/launch.ts'
import type { Home, ThreadHost, Workerd } from '../kit/js-contenders/launch.ts'
import { RawClient } from '../kit/raw-client.ts'
import { residentMb, startPlatform } from '../kit/server.ts'
import type { RunningPlatform } from '../kit/server.ts'
import { wrk } from '../kit/wrk.ts'

const homes = ['faaslet', 'skep_node', 'node', 'thread', 'workerd'] as const
type HomeName = (typeof homes)[number]
const jobs = ['json', 'template', 'loop', 'sort', 'regex'] as const

interface Contenders {
  readonly platform: RunningPlatform
  readonly threads: ThreadHost
  readonly workerd: Workerd | undefined
}

type Figures = Record<string, number>

export default async function js(context: BenchContext): Promise<BenchResult> {
  await using platform = await startPlatform()
  await using threads = await startThreadHost()
  await using workerd = await prepareWorkerd(context.root)
  const contenders: Contenders = { platform, threads, workerd }
  await deployAll(contenders, context)
  const measured: Figures = {
    ...(await coldFigures(contenders, context)),
    ...(await warmFigures(contenders, context)),
    ...(await handlerFigures(contenders, context)),
    ...(await memoryFigures(contenders, context)),
  }
  const figures: Figures = {}
  const baselines: Figures = {}
  for (const [key, value] of Object.entries(measured)) (/^(?:node|thread|workerd)_/.test(key) ? baselines : figures)[key] = value
  const ratios: Figures = {}
  for (const key of ['cold_p50_ms', 'memory_mb', 'warm_p50_us'] as const) {
    for (const home of homes) {
      const theirs = measured[`${home}_${key}`]
      if (home !== 'faaslet' && theirs !== undefined) ratios[`${key.replace(/_.*/, '')}_vs_${home}`] = round(theirs / measured[`faaslet_${key}`]!)
    }
  }
  for (const job of jobs) ratios[`slower_${job}`] = round(measured[`faaslet_${job}_us`]! / measured[`skep_node_${job}_us`]!)
  ratios['slower_hello'] = round(measured['faaslet_warm_p50_us']! / measured['skep_node_warm_p50_us']!)
  return { figures, baselines, ratios }
}

async function deployAll({ platform }: Contenders, context: BenchContext): Promise<void> {
  // Two revisions with the same code: giving the traffic to the other one ends the instances of this one.
  for (const TURN of ['1', '2']) {
    await platform.deploy('faaslet', source, { kind: 'js', environment: { TURN } })
    await platform.deploy('skep_node', source, { kind: 'node', environment: { TURN } })
  }
  await platform.deploy('faaslet_reused', source, { kind: 'js', reuse: true, instancesMax: 1 })
  // Booted, captured, recorded, compiled.
  for (const revision of [1, 2]) {
    for (const name of ['faaslet', 'skep_node', 'faaslet_reused']) {
      context.step(`warming up ${name}`)
      if (name !== 'faaslet_reused') await rollback(platform, name, revision)
      for (let call = 0; call < (context.quick ? 10 : 100); call++) await (await platform.request(`/fn/${platform.namespace}/${name}`)).text()
      await pause(500)
    }
  }
}

async function coldFigures({ platform, threads, workerd }: Contenders, context: BenchContext): Promise<Figures> {
  const samples = context.quick ? 5 : 100
  const times: Record<HomeName, number[]> = { faaslet: [], skep_node: [], node: [], thread: [], workerd: [] }
  const fromProcess = async (start: () => Promise<Home>): Promise<number> => {
    const startMs = performance.now()
    await using home = await start()
    using client = await RawClient.open(home.url, '')
    await hello(client, '/')
    return performance.now() - startMs
  }
  using client = await RawClient.open(platform.url, platform.key)
  const ofSkep = async (name: 'faaslet' | 'skep_node', sample: number): Promise<number> => {
    await rollback(platform, name, (sample % 2) + 1)
    if (name === 'skep_node') await platform.stemCellsFull(3)
    await pause(30)
    const start = name === 'faaslet' ? 'snapshot' : 'cold'
    const { ms, head } = await hello(client, `/fn/${platform.namespace}/${name}`)
    if (!head.toLowerCase().includes(`x-skep-start: ${start}`)) throw new Error(`sample ${sample} of ${name} was no ${start} start: ${head}`)
    return ms
  }
  // The first two are looked at by nobody: files are read and caches filled.
  for (let sample = 0; sample < samples + 2; sample++) {
    if (sample % 10 === 0) context.step(`cold: ${sample} of ${samples}`)
    const one: Partial<Record<HomeName, number>> = {
      faaslet: await ofSkep('faaslet', sample),
      node: await fromProcess(startNode),
      ...(workerd !== undefined && { workerd: await fromProcess(() => workerd.start()) }),
      thread: await threads.start(),
      skep_node: await ofSkep('skep_node', sample),
    }
    await threads.endAll()
    if (sample >= 2) for (const home of homes) times[home].push(...(one[home] === undefined ? [] : [one[home]]))
  }
  const figures: Figures = {}
  for (const home of homes) {
    if (times[home].length === 0) continue
    figures[`${home}_cold_p50_ms`] = round(median(times[home]))
    figures[`${home}_cold_p99_ms`] = round(percentile(times[home], 99))
  }
  return figures
}

async function warmFigures({ platform, threads, workerd }: Contenders, context: BenchContext): Promise<Figures> {
  await using node = await startNode()
  await using worker = await workerd?.start()
  const headers = { authorization: `Bearer ${platform.key}` }
  const targets: Record<string, { readonly url: string; readonly headers?: Record<string, string> }> = {
    node: { url: `${node.url}/` },
    ...(worker !== undefined && { workerd: { url: `${worker.url}/` } }),
    ...Object.fromEntries(['faaslet', 'faaslet_reused', 'skep_node'].map((name) => [name, { url: `${platform.url}/fn/${platform.namespace}/${name}`, headers }])),
  }
  const p50s: Record<string, number[]> = {}
  const p99s: Record<string, number[]> = {}
  await threads.start()
  for (let pass = -1; pass < (context.quick ? 1 : 5); pass++) {
    for (const [name, target] of Object.entries(targets)) {
      context.step(`warm: round ${pass + 1}, ${name}`)
      const { p50Us, p99Us, errors } = await wrk({ ...target, connections: 1, seconds: context.quick ? 1 : 3, core: 0 })
      if (errors > 0) throw new Error(`${name} answered ${errors} requests with an error`)
      if (pass < 0) continue
      ;(p50s[name] ??= []).push(p50Us)
      ;(p99s[name] ??= []).push(p99Us)
    }
    const us = await threads.ask(context.quick ? 200 : 5000)
    if (pass < 0) continue
    ;(p50s['thread'] ??= []).push(median(us))
    ;(p99s['thread'] ??= []).push(percentile(us, 99))
  }
  await threads.endAll()
  const figures: Figures = {}
  for (const [name, values] of Object.entries(p50s)) {
    figures[`${name}_warm_p50_us`] = Math.round(median(values))
    figures[`${name}_warm_p99_us`] = Math.round(median(p99s[name]!))
  }
  return figures
}

/** Each handler's own time, µs, in Skep's two kinds in turn. */
async function handlerFigures({ platform }: Contenders, context: BenchContext): Promise<Figures> {
  using client = await RawClient.open(platform.url, platform.key)
  const figures: Figures = {}
  for (const job of jobs) {
    context.step(`handler ${job}`)
    const times = { faaslet: [] as number[], skep_node: [] as number[] }
    const results = new Set<number>()
    // Thirty calls are more than V8 needs to compile what is hot.
    const warmUp = context.quick ? 2 : 30
    for (let call = -warmUp; call < (context.quick ? 3 : 30); call++) {
      for (const name of ['faaslet', 'skep_node'] as const) {
        const { status, text } = await client.get(`/fn/${platform.namespace}/${name}/${job}`)
        if (status !== 200) throw new Error(`${name} answered ${job} with ${status}: ${text}`)
        const { ms, result } = JSON.parse(text) as { ms: number; result: number }
        results.add(result)
        if (call >= 0) times[name].push(ms * 1000)
      }
    }
    if (results.size !== 1) throw new Error(`the homes do not agree on ${job}: ${[...results].join(', ')}`)
    for (const name of ['faaslet', 'skep_node'] as const) figures[`${name}_${job}_us`] = Math.round(median(times[name]))
  }
  return figures
}

async function memoryFigures({ platform, threads, workerd }: Contenders, context: BenchContext): Promise<Figures> {
  const figures: Figures = {}
  for (const [name, start] of Object.entries({ node: startNode, ...(workerd !== undefined && { workerd: () => workerd.start() }) })) {
    context.step(`memory of ${name}`)
    await using five = new AsyncDisposableStack()
    let sum = 0
    let residentSum = 0
    const all: Home[] = []
    for (let count = 0; count < 5; count++) all.push(five.use(await start()))
    for (const { url } of all) await askOnce(url)
    for (const { pid } of all) {
      sum += familyMb(pid)
      residentSum += await residentMb(pid)
    }
    figures[`${name}_memory_mb`] = round(sum / 5)
    figures[`${name}_rss_mb`] = round(residentSum / 5)
  }
  if (workerd !== undefined) {
    const mb: Record<number, number> = {}
    for (const count of [1, 21]) {
      await using home = await workerd.start(count)
      for (const url of home.urls) await askOnce(url)
      mb[count] = familyMb(home.pid)
    }
    figures['workerd_more_memory_mb'] = round((mb[21]! - mb[1]!) / 20)
  }
  context.step('memory of threads')
  const threadCount = context.quick ? 3 : 20
  // The first one also loads what all of them share.
  await threads.start()
  const withOneMb = familyMb(threads.pid)
  for (let count = 0; count < threadCount; count++) await threads.start()
  figures['thread_memory_mb'] = round((familyMb(threads.pid) - withOneMb) / threadCount)
  await threads.endAll()

  context.step('memory of faaslets')
  // One host process for all of them: a second one is no faaslet's memory.
  await platform.deploy('faaslet_kept', source, { kind: 'js', concurrency: 1000, instancesMax: 1 })
  await platform.stemCellsFull(3)
  const alive = context.quick ? 20 : 200
  const waitMs = context.quick ? 1500 : 5000
  const wait = async (count: number, during: () => void): Promise<void> => {
    const answers = Array.from({ length: count }, async () => (await platform.request(`/fn/${platform.namespace}/faaslet_kept/wait?${waitMs}`)).text())
    await pause(waitMs * 0.7)
    during()
    const wrong = (await Promise.all(answers)).filter((text) => text !== 'waited')
    if (wrong.length > 0) throw new Error(`${wrong.length} waiting faaslets answered ${wrong[0]}`)
  }
  // So many at once have been there before: what the platform and its processes keep of that is not the faaslets'.
  let fewMb = Number.NaN
  let manyMb = Number.NaN
  await wait(alive, () => {})
  await wait(1, () => (fewMb = familyMb(platform.pid)))
  await wait(alive + 1, () => (manyMb = familyMb(platform.pid)))
  figures['faaslet_memory_mb'] = round((manyMb - fewMb) / alive, 3)

  context.step('memory of kind node')
  await platform.stemCellsFull(3)
  const beforeMb = familyMb(platform.pid)
  const instances = context.quick ? 2 : 5
  await platform.deploy('skep_node_kept', source, { kind: 'node', instancesMin: instances })
  for (;;) {
    const { instances: { ready } } = await platform.json<{ instances: { ready: number } }>('/v1/functions/skep_node_kept')
    if (ready >= instances) break
    await pause(20)
  }
  // The stem cells that became these instances have been replaced.
  await pause(500)
  await platform.stemCellsFull(3)
  figures['skep_node_memory_mb'] = round((familyMb(platform.pid) - beforeMb) / instances)
  return figures
}

async function rollback(platform: RunningPlatform, name: string, revision: number): Promise<void> {
  await platform.json(`/v1/functions/${name}/rollback`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ revision }) })
}

async function hello(client: RawClient, path: string): Promise<{ readonly ms: number; readonly head: string }> {
  const answer = await client.get(path)
  if (answer.text !== 'hello') throw new Error(`${path} answered ${answer.status} ${answer.text}`)
  return answer
}

async function askOnce(url: string): Promise<void> {
  using client = await RawClient.open(url, '')
  await hello(client, '/')
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
