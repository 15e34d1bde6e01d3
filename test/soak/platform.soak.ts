/**
 * Goal: under everything at once, for a long time, every answer is right or a typed error, nothing accepted is lost or run
 * too often, every invocation has its record, and nothing is left behind or grows: not memory, descriptors, processes,
 * cgroups, directories.
 *
 * Method: a real platform; callers of every kind (callers.ts, async-callers.ts, changers.ts) with seeded questions; books
 * outside of it (books.ts), and the host's view of it (kit/host.ts). One half of the time in one life, in which memory and
 * descriptors are compared; the other half in many lives, each ended by `kill -9` under load.
 *
 * SKEP_SOAK_MINUTES (20) is the time of both halves together, SEED repeats the questions.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { seededRandom, seedFromEnvironment } from '#base/seeded-random.ts'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import { cgroupDirectories, cgroupMembers, descriptors, memoryOf, moreOf, sandboxCgroups, sandboxDirectories, sandboxEntries, sandboxProcesses } from '../kit/host.ts'
import { isAlive, startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { asyncCallers, checkAccepted, queueEmpty, startWitness } from './async-callers.ts'
import type { Witness } from './async-callers.ts'
import { syncCallers } from './callers.ts'
import { ChangingFunction } from './changers.ts'
import { ATTEMPTS_MAX, soakFunctions } from './functions.ts'
import { lifeOf, World } from './world.ts'
import type { Caller, Life } from './world.ts'

const minutes = Number(process.env['SKEP_SOAK_MINUTES'] ?? 20)
assert.ok(minutes > 0, 'SKEP_SOAK_MINUTES must be a number above 0')
const halfMs = (minutes * 60_000) / 2
const seed = seedFromEnvironment()
const title = `SEED=${seed} SKEP_SOAK_MINUTES=${minutes}`

/**
 * Resident memory of one life. Of what it comes to under this load, 105 MB are there at rest, 15 are live objects more, and
 * the rest is the young generation and free memory that the allocator keeps, which take some 100,000 invocations to reach
 * their sizes. So growth after the warm-up counts only above the level where it has always ended by then.
 */
const MEMORY = { plateauMb: 350, growthShare: 0.15, growthMb: 30 }
/** Descriptors that open at the first need and then stay: of the store's readers, of sources of randomness. */
const DESCRIPTORS_MORE_MAX = 4
const LIFE_MS = { min: 6_000, max: 20_000 }
/** One code is compiled ahead about every second, and some hundred may wait for that. */
const REST_MS_MAX = 240_000
const LOOKS = 6
const LOOK_PAUSE_MS = 300

describe(`soak (${title})`, () => {
  test('one life: answers, records and asynchronous work are right; memory, descriptors and the host are as before', async (context) => {
    await using witness = await startWitness()
    const data = mkdtempSync(join(tmpdir(), 'skep-soak-'))
    try {
      await using platform = await startTestPlatform({ data })
      const life = lifeOf(platform)
      const before = await restOf(platform)
      const world = new World({ seed, life, witness: witness.url })
      await deployAll(platform, witness)
      const samples: number[] = []
      const sampler = setInterval(() => samples.push(memoryOf(platform.pid).residentMb), 500)
      const startMs = performance.now()
      await world.work(callersOf(world), startMs + halfMs)
      clearInterval(sampler)
      await finish(world, life, witness, context)

      const after = await restOf(platform, before.held)
      const warmMb = median(samples.slice(Math.floor(samples.length / 3), Math.floor(samples.length / 2)))
      const endMb = median(samples.slice(Math.floor((samples.length * 5) / 6)))
      const atRest = `at rest ${before.residentMb} MB before, ${after.residentMb} MB after`
      context.diagnostic(`resident: ${warmMb} MB after the warm-up, ${endMb} MB at the end, at most ${Math.max(...samples)} MB; ${atRest} (anonymous ${before.anonymousMb} and ${after.anonymousMb} MB)`)
      if (endMb > Math.max(MEMORY.plateauMb, warmMb * (1 + MEMORY.growthShare) + MEMORY.growthMb)) world.books.problem(`memory grew from ${warmMb} MB after the warm-up to ${endMb} MB`)
      const more = moreOf(before.descriptors, after.descriptors)
      context.diagnostic(`descriptors: ${sum(before.descriptors)} before, ${sum(after.descriptors)} after${more === '' ? '' : `: ${more}`}`)
      if (sum(after.descriptors) > sum(before.descriptors) + DESCRIPTORS_MORE_MAX) world.books.problem(`descriptors are left open: ${more}`)

      await end(life, data, world)
      verdict(world)
    } finally {
      rmSync(data, { recursive: true, force: true })
    }
  })

  test('many lives: kill -9 under load loses nothing that was accepted, and what a life leaves behind is removed', async (context) => {
    await using witness = await startWitness()
    const random = seededRandom(seed)
    const data = mkdtempSync(join(tmpdir(), 'skep-soak-'))
    let life = lifeOf(await startTestPlatform({ data }))
    try {
      const world = new World({ seed: seed + 1, life, witness: witness.url })
      await deployAll(life.platform, witness)
      const untilMs = performance.now() + halfMs
      const working = world.work(callersOf(world), untilMs)
      const readyMs: number[] = []
      for (;;) {
        const lifeMs = LIFE_MS.min + random() * (LIFE_MS.max - LIFE_MS.min)
        if (performance.now() + lifeMs > untilMs) break
        await pause(lifeMs)
        const next = Promise.withResolvers<Life>()
        void world.follow(next.promise)
        life.isOver = true
        world.books.deathsMs.push(Date.now())
        const { pid } = life.platform
        await life.platform.kill()
        const left = { processes: sandboxProcesses(data), groups: cgroupDirectories(data) }
        await life.platform[Symbol.asyncDispose]()
        life = lifeOf(await startTestPlatform({ data }), life.number + 1)
        next.resolve(life)
        readyMs.push(Math.round(life.platform.readyMs))
        const remains = (): string =>
          [
            ...left.processes.filter((one) => isAlive(one) && sandboxProcesses(data).includes(one)).map((one) => `process ${one}`),
            ...left.groups.filter((directory) => existsSync(directory)),
            ...sandboxEntries(data).filter((name) => name.startsWith(`p${pid}-`) || name.startsWith(`.owner-${pid}-`)),
          ].join(', ')
        // Not what was there, but what stays: so an assertion of `until` would say too little.
        await until(() => remains() === '', 'everything of the killed platform is gone', REST_MS_MAX).catch(() => world.books.problem(`left of the killed platform ${pid}: ${remains()}`))
      }
      await working
      await finish(world, life, witness, context)
      context.diagnostic(`${world.books.deathsMs.length} deaths; ready again after ${readyMs.join(', ')} ms`)
      await restOf(life.platform)
      await end(life, data, world)
      verdict(world)
    } finally {
      await life.platform[Symbol.asyncDispose]()
      rmSync(data, { recursive: true, force: true })
    }
  })
})

function callersOf(world: World): readonly Caller[] {
  return [...syncCallers(world), ...asyncCallers(world), ...new ChangingFunction(world).callers()]
}

async function deployAll(platform: TestPlatform, witness: Witness): Promise<void> {
  for (const [name, { filename, text, config }] of Object.entries(soakFunctions(witness.url))) await platform.deployText(name, filename, text, config)
}

/** The load has ended: all that was accepted comes to its end, and the books are closed. */
async function finish(world: World, life: Life, witness: Witness, context: TestContext): Promise<void> {
  const { books } = world
  await queueEmpty(life)
  // The callbacks to the witness leave after the work itself; those to functions are work again.
  const lacking = (): number => [...books.accepted].filter(([id, { callback }]) => callback !== 'none' && !witness.told[callback].has(id)).length
  await until(() => lacking() === 0, 'every callback came', books.deathsMs.length === 0 ? 10_000 : 3_000).catch(() => {})
  await queueEmpty(life)
  await until(async () => /skep_invocations_open(\{\})? 0$/m.test((await life.platform.send('/metrics')).text), 'no invocation is open', 20_000).catch((error: Error) => books.problem(error.message))
  // A record waits for its batch.
  await pause(500)
  await checkAccepted(world, life, witness)
  const records = await books.checkRecords(recordsOf(life.platform), ATTEMPTS_MAX)
  context.diagnostic(`${books.answered.size} answered, ${books.accepted.size} accepted, ${books.abandoned} abandoned, ${books.lost} lost; ${records.total} records, ${records.unasked} of nothing that was answered, ${records.unwritten} not written before a death`)
  context.diagnostic([...books.counts].map(([what, count]) => `${what}: ${count}`).sort().join('; '))
  for (const line of unusual(life.platform)) context.diagnostic(line)
}

async function* recordsOf(platform: TestPlatform): AsyncGenerator<InvocationRecord> {
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const answer = await platform.send(`/v1/invocations?limit=1000${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`)
    const page = answer.json<{ invocations: InvocationRecord[]; cursor?: string }>()
    yield* page.invocations
    cursor = page.cursor
  }
}

interface Rest {
  readonly residentMb: number
  readonly anonymousMb: number
  readonly descriptors: ReadonlyMap<string, number>
  readonly held: Held
}

/** What a platform has on the host. */
interface Held {
  readonly instances: number
  readonly stemCells: number
  readonly directories: number
  readonly cgroups: number
  readonly processes: number
}

async function heldBy(platform: TestPlatform): Promise<Held> {
  const { platform: now } = (await platform.send('/v1/stats')).json<{ platform: { instances: number; stemCells: number } }>()
  return {
    instances: now.instances,
    stemCells: now.stemCells,
    directories: sandboxDirectories(platform.data).length,
    cgroups: sandboxCgroups(platform.data).length,
    processes: sandboxProcesses(platform.data).length,
  }
}

/**
 * What a platform holds that has nothing to do: its functions are deleted, its instances gone, its stem cells full, its
 * clients' connections closed. @param before What it has to come back to; without, it only has to stay the same.
 */
async function restOf(platform: TestPlatform, before?: Held): Promise<Rest> {
  const { functions } = (await platform.send('/v1/functions')).json<{ functions: { name: string }[] }>()
  for (const { name } of functions) assert.equal((await platform.send(`/v1/functions/${name}`, { method: 'DELETE' })).status, 204, `${name} is deleted`)
  let held = await heldBy(platform)
  // Compiling ahead goes on for a while, one after the other with a pause between: rest is when nothing follows any more.
  const isAtRest = async (): Promise<boolean> => {
    const last = before ?? held
    for (let looks = 0; looks < LOOKS; looks++) {
      held = await heldBy(platform)
      if (held.instances > 0 || held.stemCells === 0 || !isDeepStrictEqual(held, last)) return false
      await pause(LOOK_PAUSE_MS)
    }
    return true
  }
  await until(isAtRest, 'the platform is at rest', REST_MS_MAX).catch(() => {
    const members = sandboxCgroups(platform.data).map((name) => `${name}: ${cgroupMembers(platform.data, name)}`)
    assert.fail(`the platform does not come to rest: it has ${JSON.stringify(held)}${before === undefined ? '' : `, before it had ${JSON.stringify(before)}`}\n${[...members, ...unusual(platform)].join('\n')}`)
  })
  platform.disconnect()
  // The server sees the end of a connection a moment later.
  await pause(1_000)
  return { ...memoryOf(platform.pid), descriptors: descriptors(platform.pid), held }
}

/** Ends the platform as a user does, and looks for what it left. */
async function end(life: Life, data: string, world: World): Promise<void> {
  const { platform } = life
  const groups = cgroupDirectories(data)
  life.isOver = true
  await platform[Symbol.asyncDispose]()
  const left = [
    ...sandboxProcesses(data).map((pid) => `process ${pid}`),
    ...groups.filter((directory) => existsSync(directory)),
    ...sandboxEntries(data).map((name) => join('sandboxes', name)),
    ...readdirSync(join(data, 'code-blobs', 'tmp')).map((name) => join('code-blobs/tmp', name)),
    ...readdirSync(join(data, 'objects', 'tmp')).map((name) => join('objects/tmp', name)),
  ]
  if (left.length > 0) world.books.problem(`left after the end: ${left.join(', ')}`)
  const isOpen = await new Promise<boolean>((resolve) => {
    const socket = connect(Number(new URL(platform.url).port), '127.0.0.1')
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false))
    socket.on('connect', () => socket.destroy())
  })
  if (isOpen) world.books.problem('its port is still open')
}

function verdict(world: World): void {
  const { problems, problemCount } = world.books
  assert.equal(problemCount, 0, `${title}: ${problemCount} problems\n${problems.join('\n')}`)
}

/** Distinct lines of the platform's log that are no news, without what differs between them. */
function unusual(platform: TestPlatform): string[] {
  const counts = new Map<string, number>()
  for (const line of platform.log().split('\n')) {
    if (!/\b(?:warn|error|fatal)\b/i.test(line)) continue
    const kind = line.replaceAll(/[0-9a-f]{16,}/g, '…').replaceAll(/\d+/g, '#').slice(0, 300)
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return [...counts].map(([line, count]) => `log, ${count} times: ${line}`)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? 0
}

function sum(counts: ReadonlyMap<string, number>): number {
  return [...counts.values()].reduce((total, count) => total + count, 0)
}
