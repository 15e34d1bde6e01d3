/**
 * Question: how many instances can live on one machine (Fonseca's goal: 10^5 per node), and what does each cost?
 *
 * Method: host processes, as many as the address space of each needs (V8 reserves 10 GB per memory, a process has 128 TB), each making faaslets with
 * the product's own pager and instantiation, all of them alive at the end. Each has written its number into its memory, and is asked
 * for it at random. Memory is the larger of two sums over the instances: the hosts' proportional shares (Pss), with their own base; and what
 * the machine has less than before, which counts page tables and mappings too. Two hosts at a time make theirs, one per core.
 *
 * Baseline: the same host process with no faaslet.
 * Not measured: the platform's own record of an instance (a faaslet that serves one invocation has none).
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { freemem, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { writeImage } from '#pager/image-file.ts'
import { nonZeroChunks } from '#pager/zero-pages.ts'
import { round } from '../kit/figures.ts'

const PER_HOST = 12_500
/** One after the other within a host, so that a collection of garbage falls between and is counted. */
const BATCH = 500

export default async function density(context: BenchContext): Promise<BenchResult> {
  const wanted = context.quick ? 1_000 : 100_000
  const hosts: ChildProcess[] = []
  const directory = mkdtempSync(join(tmpdir(), 'skep-density-'))
  try {
    const imageBytes = 2 * 65_536
    const memory = new Uint8Array(imageBytes)
    memory.fill(1, 4096, 4 * 4096)
    await writeImage(join(directory, 'image'), { revision: 'bench/number@1', moduleDigest: '0'.repeat(64), imageId: '0'.repeat(32), imageBytes, state: new Uint8Array(), takenAtMs: Date.now(), answered: 0 }, nonZeroChunks(memory, 65_536))
    const perHost = Math.min(PER_HOST, wanted)
    for (let count = 0; count < Math.ceil(wanted / perHost); count++) {
      const host = fork(join(context.root, 'bench/kit/density-host.ts'), [join(context.root, 'bench/functions/restore/number.wasm'), directory], { serialization: 'advanced', execArgv: ['--disable-warning=ExperimentalWarning'] })
      await once(host, 'message')
      hosts.push(host)
    }
    const baseKb = pssKb(hosts)
    const availableKb = memAvailableKb()
    const startMs = performance.now()
    for (let at = 0; at < hosts.length; at += 2) {
      context.step(`${at * perHost} of ${wanted}`)
      await Promise.all(hosts.slice(at, at + 2).map((host) => makeIn(host, perHost)))
    }
    const seconds = (performance.now() - startMs) / 1000
    const instances = hosts.length * perHost
    const totalKb = pssKb(hosts)
    const takenKb = availableKb - memAvailableKb() + baseKb
    const freeMb = freemem() / 1024 ** 2
    let asked = 0
    let wrong = 0
    for (let round = 0; round < 10; round++) {
      for (const host of hosts) {
        const ask = Array.from({ length: Math.min(1000, perHost) }, () => Math.floor(Math.random() * perHost))
        asked += ask.length
        wrong += (await request<{ wrong: number }>(host, { ask })).wrong
      }
    }
    return {
      figures: {
        instances, kb_per_instance: round(Math.max(totalKb, takenKb) / instances), kb_per_instance_pss: round(totalKb / instances), kb_per_instance_without_base: round((totalKb - baseKb) / instances),
        created_per_s: Math.round(instances / seconds), wrong_answers: wrong, asked, hosts: hosts.length, free_mb_left: Math.round(freeMb),
      },
      baselines: { empty_host_mb: round(baseKb / 1024 / hosts.length) },
    }
  } finally {
    for (const host of hosts) host.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

async function makeIn(host: ChildProcess, count: number): Promise<void> {
  for (let made = 0; made < count; made += BATCH) await request(host, { make: Math.min(BATCH, count - made) })
}

async function request<Answer>(host: ChildProcess, message: object): Promise<Answer> {
  host.send(message)
  const [answer] = (await once(host, 'message')) as [Answer & { error?: string; made?: number }]
  if (answer.error !== undefined) throw new Error(`a host stopped at ${answer.made} instances: ${answer.error}`)
  return answer
}

function memAvailableKb(): number {
  return Number(/^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))![1])
}

function pssKb(hosts: readonly ChildProcess[]): number {
  return hosts.reduce((sum, { pid }) => sum + Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))![1]), 0)
}
