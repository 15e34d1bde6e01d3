/** Who calls synchronously: steadily, in bursts, with large bodies, what misbehaves; and who goes away before the answer. */
import { createHash } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { Answer } from '../kit/http.ts'
import { oneOf, whole } from './world.ts'
import type { Caller, Expected, Life, Random, World } from './world.ts'

export function syncCallers(world: World): readonly Caller[] {
  const invoke = (life: Life, expected: Expected, payload: unknown): Promise<Answer> => world.ask(life, expected, () => life.platform.invoke(expected.function, payload))
  const echoes = (name: string) => (life: Life, random: Random): Promise<Answer> => {
    const text = word(random)
    const isRight = (answer: Answer): boolean => {
      const { echo, text: same } = answer.json()
      return (echo ?? same) === text
    }
    return invoke(life, { function: name, isRight }, { text })
  }
  const echo = echoes('echo')

  return [
    { name: 'warm', count: 3, thinkMs: 60, act: async (life, random) => void (await echo(life, random)) },
    { name: 'python', count: 2, thinkMs: 120, act: async (life, random) => void (await echoes('echo-python')(life, random)) },
    { name: 'command', count: 1, thinkMs: 600, act: async (life, random) => void (await echoes('echo-command')(life, random)) },
    {
      name: 'calls others',
      count: 1,
      thinkMs: 200,
      async act(life, random) {
        const text = word(random)
        await invoke(life, { function: 'calls', calls: 2, isRight: (answer) => answer.json().a === text && answer.json().b === text }, { text })
      },
    },
    {
      name: 'bursts',
      count: 1,
      thinkMs: 4_000,
      async act(life, random) {
        const size = 10 + whole(random, 90)
        const isWaiting = random() < 0.6
        await Promise.all(
          Array.from({ length: size }, () => {
            const ms = whole(random, 60)
            const n = 1 + whole(random, 500_000)
            if (isWaiting) return invoke(life, { function: 'waits', isRight: (answer) => answer.json().ms === ms }, { ms })
            return invoke(life, { function: 'computes', isRight: (answer) => answer.json().sum === (n * (n + 1)) / 2 }, { n })
          }),
        )
      },
    },
    {
      name: 'streams',
      count: 2,
      thinkMs: 300,
      async act(life, random) {
        const bytes = Buffer.alloc(whole(random, 1_500_000), word(random))
        const name = oneOf(random, ['streams', 'streams-python'])
        const body = random() < 0.5 ? bytes : Readable.from(pieces(bytes, random))
        const answer = await world.ask(life, { function: name, isRight: (right) => right.body.equals(bytes) }, () =>
          life.platform.fn(name, { method: 'POST', body, headers: { 'content-type': 'application/octet-stream' } }),
        )
        if (!answer.body.equals(bytes)) world.books.problem(`its body, ${Buffer.isBuffer(body) ? 'whole' : 'in pieces'}: ${difference(bytes, answer.body)}`)
      },
    },
    { name: 'slow reader', count: 1, thinkMs: 500, act: (life, random) => readSlowly(world, life, random) },
    { name: 'goes away', count: 2, thinkMs: 300, act: (life, random) => goAway(world, life, random) },
    { name: 'misbehaves', count: 2, thinkMs: 500, act: (life, random) => misbehave(world, life, random) },
    {
      name: 'looks',
      count: 1,
      thinkMs: 1_500,
      async act(life, random) {
        const path = oneOf(random, ['/v1/functions', '/v1/stats', '/metrics', '/v1/invocations?limit=100', '/v1/invocations?function=echo&status=ok&limit=20', '/v1/functions/prints/logs?limit=50', '/v1/async'])
        const answer = await world.reach(life, () => life.platform.send(path))
        // The functions may just not be there yet.
        if (answer.status !== 200) world.books.problem(`${path} answered ${answer.status} ${answer.text.slice(0, 300)}`)
      },
    },
  ]
}

const badOnes: readonly { readonly expected: Expected; readonly payload?: unknown }[] = [
  { expected: { function: 'throws', codes: ['FUNCTION_THREW'] } },
  // On a busy machine the platform sees that the channel is closed long before it learns why.
  { expected: { function: 'exits', codes: ['FUNCTION_EXITED', 'INSTANCE_LOST'] }, payload: { code: 3 } },
  { expected: { function: 'hangs', codes: ['FUNCTION_TIMEOUT'] } },
  { expected: { function: 'hangs-python', codes: ['FUNCTION_TIMEOUT'] } },
  { expected: { function: 'eats', codes: ['FUNCTION_OUT_OF_MEMORY'] } },
  { expected: { function: 'fails-to-load', codes: ['INIT_FAILED'] } },
  { expected: { function: 'prints', isRight: (answer) => answer.json().lines === 200 }, payload: { lines: 200 } },
]

async function misbehave(world: World, life: Life, random: Random): Promise<void> {
  const { expected, payload } = oneOf(random, badOnes)
  await world.ask(life, expected, () => life.platform.invoke(expected.function, payload))
}

/** A download in steps, so that the function has to wait for its reader. */
async function readSlowly(world: World, life: Life, random: Random): Promise<void> {
  const bytes = 200_000 + whole(random, 800_000)
  const hash = createHash('sha256')
  await world.ask(life, { function: 'streams', isRight: () => hash.digest('hex') === sevens(bytes) }, async () => {
    const { response, id } = await life.platform.open(`streams?bytes=${bytes}`)
    for await (const chunk of response as AsyncIterable<Buffer>) {
      hash.update(chunk)
      if (random() < 0.2) await pause(whole(random, 20))
    }
    if (!response.complete) throw new Error('the answer broke off')
    return { status: response.statusCode!, headers: response.headers, rawHeaders: [], body: Buffer.alloc(0), text: '', json: () => undefined as never, id }
  })
}

/** Leaves before the answer, in the middle of its body, or in the middle of the request's. */
async function goAway(world: World, life: Life, random: Random): Promise<void> {
  const { platform } = life
  const how = whole(random, 3)
  world.books.abandoned++
  if (how === 0) {
    const { response } = await world.reach(life, () => platform.open('streams?bytes=20000000'))
    await pause(whole(random, 50))
    response.destroy()
    return
  }
  const url = `${platform.url}/fn/${platform.namespace}/${how === 1 ? 'waits' : 'streams'}`
  const headers = { authorization: `Bearer ${platform.key}`, 'content-type': how === 1 ? 'application/json' : 'application/octet-stream' }
  const request = httpRequest(url, { method: 'POST', headers, agent: false })
  request.on('response', (response) => response.on('error', () => {}).resume())
  // That it breaks off is what it is for.
  request.on('error', () => {})
  if (how === 1) request.end('{"ms":2000}')
  else request.write(Buffer.alloc(100_000))
  await pause(whole(random, 150))
  request.destroy()
}

async function* pieces(bytes: Buffer, random: Random): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + whole(random, 100_000)
    yield bytes.subarray(at, at + size)
    at += size
    if (random() < 0.2) await pause(whole(random, 10))
  }
}

/** Where two bodies begin to differ, and what is there. */
function difference(sent: Buffer, got: Buffer): string {
  let at = 0
  while (at < sent.length && at < got.length && sent[at] === got[at]) at++
  const around = (bytes: Buffer): string => JSON.stringify(bytes.subarray(Math.max(0, at - 20), at + 20).toString('latin1'))
  return `${sent.length} bytes sent, ${got.length} back, the same up to ${at}: ${around(sent)} and ${around(got)}`
}

function sevens(bytes: number): string {
  return createHash('sha256').update(Buffer.alloc(bytes, 7)).digest('hex')
}

function word(random: Random): string {
  return `w${whole(random, 1e9).toString(36)}`
}
