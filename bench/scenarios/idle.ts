/**
 * Question: what does the platform cost when nobody uses it, and how soon is it there?
 *
 * Method: 100 functions are deployed; the platform is stopped and started again with this data, as a user starts it
 * (launcher and all): time until it says that it is ready, and until it answers; resident memory of the server after 5
 * quiet seconds, stem cells beside it. Reload: \`skep dev\` on a directory, a file is saved, asked until the answer is new.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { median, round } from '../kit/figures.ts'
import { firstLine, startPlatform } from '../kit/server.ts'

const text = (answer: string): string => `export default { fetch() { return new Response('${answer}') } }\n`

export default async function idle(context: BenchContext): Promise<BenchResult> {
  const data = await mkdtemp(join(tmpdir(), 'skep-bench-'))
  try {
    const functions = context.quick ? 10 : 100
    {
      await using platform = await startPlatform({ data })
      for (let index = 0; index < functions; index++) {
        if (index % 10 === 0) context.step(`deploying ${index} of ${functions}`)
        await platform.deploy(`function-${index}`, { filename: 'index.mjs', text: text(`answer ${index}`) })
      }
    }
    const readies: number[] = []
    const residents: number[] = []
    let stemCells: unknown
    for (let pass = 0; pass < (context.quick ? 1 : 5); pass++) {
      context.step(`starting with ${functions} functions: ${pass + 1}`)
      await using platform = await startPlatform({ data })
      readies.push(platform.readyMs)
      await platform.stemCellsFull(3)
      await new Promise((resolve) => setTimeout(resolve, context.quick ? 500 : 5000))
      residents.push(await platform.residentMb())
      stemCells = (await platform.json<{ platform: { stemCellBytes: number } }>('/v1/stats')).platform.stemCellBytes
    }
    const reloads = await reloadTimes(context)
    return {
      figures: {
        rss_mb: median(residents),
        ready_ms: round(median(readies)),
        reload_ms: round(median(reloads)),
        stem_cells_mb: round(Number(stemCells) / 1024 ** 2, 1),
        functions,
      },
    }
  } finally {
    await rm(data, { recursive: true, force: true })
  }
}

async function reloadTimes(context: BenchContext): Promise<number[]> {
  const directory = await mkdtemp(join(tmpdir(), 'skep-bench-dev-'))
  const file = join(directory, 'hello.ts')
  await writeFile(file, text('version 0'))
  const child = spawn(join(context.root, 'skep'), ['dev', directory, '--port', '0', '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const { url, namespace, key } = JSON.parse(await firstLine(child)) as { url: string; namespace: string; key: string }
    const ask = async (): Promise<string> => (await fetch(`${url}/fn/${namespace}/hello`, { headers: { authorization: `Bearer ${key}` } })).text()
    const times: number[] = []
    for (let version = 0; version <= (context.quick ? 2 : 20); version++) {
      context.step(`reload ${version}`)
      const startMs = performance.now()
      if (version > 0) await writeFile(file, text(`version ${version}`))
      while ((await ask()) !== `version ${version}`) await new Promise((resolve) => setTimeout(resolve, 2))
      if (version > 0) times.push(performance.now() - startMs)
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    return times
  } finally {
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
    await rm(directory, { recursive: true, force: true })
  }
}
