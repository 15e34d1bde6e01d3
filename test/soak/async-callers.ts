/**
 * Who calls asynchronously, and the witness: a server beside the platform that counts what really ran and which results were
 * brought to it. What it was told, no death of the platform takes away.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import type { Answer } from '../kit/http.ts'
import { ATTEMPTS_MAX } from './functions.ts'
import { LostPlatform, oneOf, whole } from './world.ts'
import type { Caller, Life, Random, World } from './world.ts'

export interface Witness {
  readonly url: string
  /** How often the function `witnessed` has begun to run, by invocation. */
  readonly ran: ReadonlyMap<string, number>
  /** Invocations whose result was brought, by whom. */
  readonly told: { readonly http: ReadonlySet<string>; readonly function: ReadonlySet<string> }
  [Symbol.asyncDispose](): Promise<void>
}

export async function startWitness(): Promise<Witness> {
  const ran = new Map<string, number>()
  const told = { http: new Set<string>(), function: new Set<string>() }
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const [, what, id = ''] = (request.url ?? '').split('/')
      if (what === 'ran') ran.set(id, (ran.get(id) ?? 0) + 1)
      else if (what === 'told') told.function.add(id)
      else told.http.add((JSON.parse(body) as { id: string }).id)
      response.end()
    }, () => {})
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ran,
    told,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

let count = 0

export function asyncCallers(world: World): readonly Caller[] {
  return [
    { name: 'asynchronous', count: 3, thinkMs: 250, act: (life, random) => accept(world, life, random, oneOf(random, ['flaky', 'flaky-python'])) },
    { name: 'asynchronous, witnessed', count: 1, thinkMs: 400, act: (life, random) => accept(world, life, random, 'witnessed') },
  ]
}

/** One invocation; some of them sent more than once with the same key, some with a body that is too large for the queue's row. */
async function accept(world: World, life: Life, random: Random, name: string): Promise<void> {
  const n = ++count
  const until = random() < 0.7 ? 1 : 1 + whole(random, ATTEMPTS_MAX + 1)
  const callback = random() < 0.3 ? oneOf(random, ['http', 'function'] as const) : 'none'
  const key = random() < 0.3 ? { 'idempotency-key': `key-${life.platform.pid}-${n}` } : {}
  const payload = { n, until, ...(random() < 0.1 && { padding: 'x'.repeat(100_000) }) }
  const to = { http: `${world.witness}/`, function: 'function:told' }
  const headers = { prefer: 'respond-async', ...key, ...(callback !== 'none' && { 'x-callback-url': to[callback] }) }
  const send = (): Promise<Answer> => world.reach(life, () => life.platform.invoke(name, payload, headers))
  const copies = 'idempotency-key' in key ? 1 + whole(random, 3) : 1
  const settled = await Promise.allSettled(Array.from({ length: copies }, send))
  const ids = new Set<string>()
  for (const one of settled) {
    if (one.status === 'rejected') {
      if (!(one.reason instanceof LostPlatform)) throw one.reason
    } else if (one.value.status === 202) {
      ids.add(one.value.json<{ id: string }>().id)
    } else {
      world.books.problem(`${name} was not accepted: ${one.value.status} ${one.value.text.slice(0, 300)}`)
    }
  }
  if (ids.size > 1) world.books.problem(`${name}: one idempotency key, several invocations: ${[...ids].join(', ')}`)
  for (const id of ids) world.books.accepted.set(id, { function: name, until, n, callback })
}

/** K3, by what the platform answers now that its queue is empty, and by what the witness saw. */
export async function checkAccepted(world: World, life: Life, witness: Witness): Promise<void> {
  const { books } = world
  const { platform } = life
  const deaths = books.deathsMs.length
  const dead = new Set((await platform.send('/v1/async/dead?limit=1000')).json<{ dead: { id: string }[] }>().dead.map((one) => one.id))
  const entries = [...books.accepted]
  const check = async (): Promise<void> => {
    for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
      const [id, { function: name, until, n, callback }] = entry
      const succeeds = until <= ATTEMPTS_MAX
      const result = await platform.send(`/v1/invocations/${id}/result`)
      const said = `${result.status} ${result.headers['x-skep-error'] ?? ''} ${result.text.slice(0, 100)}`
      // A death counts as an attempt: what was to fail may then have been spared its last ones.
      const isRight = result.status === 200 && result.json<{ n: number }>().n === n
      if (succeeds ? !isRight : result.headers['x-skep-error'] !== 'FUNCTION_THREW' && !(deaths > 0 && isRight)) books.problem(`K3: ${name} ${id}, to succeed on attempt ${until}, has the result ${said}`)
      if (dead.has(id) === isRight) books.problem(`K3: ${name} ${id} is ${isRight ? '' : 'not '}among the dead letters, and its result is ${said}`)
      if (name === 'witnessed') {
        const ran = witness.ran.get(id) ?? 0
        const needed = Math.min(until, ATTEMPTS_MAX)
        if (deaths === 0 ? ran !== needed : ran < 1 || ran > needed + deaths) books.problem(`K3: ${id} ran ${ran} times; ${needed} were needed, and the platform died ${deaths} times`)
      }
      if (callback !== 'none' && !witness.told[callback].has(id)) {
        if (deaths === 0) books.problem(`K3: nobody was told (${callback}) of the result of ${name} ${id}`)
        else books.count(`callbacks (${callback}) lost by a death`)
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, check))
}

/** Waits until nothing waits or runs any more. @throws when that takes too long. */
export async function queueEmpty(life: Life, timeoutMs = 60_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    const { waiting, claimed } = (await life.platform.send('/v1/async')).json<{ waiting: number; claimed: number }>()
    if (waiting + claimed === 0) return
    if (performance.now() > endMs) throw new Error(`${waiting} asynchronous invocations wait and ${claimed} run still after ${timeoutMs} ms`)
    await pause(50)
  }
}
