/**
 * Goal: functions of an ordinary TypeScript program run on a platform, without a deploy by hand: call, map, wait, map-reduce; errors, lost instances,
 * cancellation; and what is deployed is exactly what changed.
 *
 * Method: modules written into a directory of the test, imported as a program would import them; a real platform; instances really die.
 */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { CreateBucketCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { Executor, RemoteError } from '../../clients/map/main.ts'
import type { About, ExecutorOptions, Progress } from '../../clients/map/main.ts'
import { inCircle } from '../../examples/map/pi.ts'
import { addUp, countWords } from '../../examples/map/word-count.ts'
import type { Counts } from '../../examples/map/word-count.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'
import { s3Client, s3Credentials } from '../kit/s3.ts'

const client = JSON.stringify(join(import.meta.dirname, '../../clients/map/main.ts'))

const program = `
  import { Executor } from ${client}
  import { doubled } from './lib.ts'

  const run = new Executor()

  export class OutOfRange extends Error { override name = 'OutOfRange'; code = 'E_RANGE' }

  export function twice(x: number): number { return doubled(x) }
  export async function fails(x: number): Promise<number> {
    if (x % 2 === 1) throw new OutOfRange(\`\${x} is odd\`, { cause: new TypeError('because') })
    return x
  }
  export const same = (value: unknown) => value
  export const returnsFunction = () => () => 1
  export function waits(ms: number): Promise<number> { return new Promise((resolve) => setTimeout(() => resolve(ms), ms)) }
  function hidden(x: number) { return x }
  export const getHidden = () => hidden
  export async function keeps(text: string): Promise<string> { return (await import('skep')).put(text, { retrievals: 2 }) }
  /** The first attempt uses the object up and dies. */
  export async function dies(reference: string): Promise<string> {
    const { get } = await import('skep')
    try { await get(reference); await get(reference) } catch { return 'second attempt' }
    process.kill(process.pid, 'SIGKILL')
    return new Promise(() => {})
  }
  export async function slowOnce(reference: string | null): Promise<string> {
    if (reference === null) return 'quick'
    const { get } = await import('skep')
    try { await get(reference); await get(reference) } catch { return 'copy' }
    return new Promise((resolve) => setTimeout(() => resolve('slow'), 20_000))
  }
  export async function diesReducing(values: string[]): Promise<string[]> {
    const first = await dies(values[0]!)
    return [first, ...values.slice(1)]
  }
  export async function lengthOf(stream: ReadableStream<Uint8Array>, about: { key: string; from: number; to: number }): Promise<[string, number]> {
    let length = 0
    for await (const chunk of stream) length += chunk.length
    return [about.key, length]
  }
  export default function byDefault(x: number) { return x - 1 }

  if (import.meta.main) throw new Error('the program ran in the cloud')
`

interface Program {
  twice(x: number): number
  fails(x: number): Promise<number>
  same<Value>(value: Value): Value
  returnsFunction(x: number): unknown
  waits(ms: number): Promise<number>
  getHidden(): (x: number) => number
  keeps(text: string): Promise<string>
  dies(reference: string): Promise<string>
  slowOnce(reference: string | null): Promise<string>
  diesReducing(values: string[]): Promise<string[]>
  lengthOf(stream: ReadableStream<Uint8Array>, about: About): Promise<[string, number]>
  default(x: number): number
}

describe('a map of a TypeScript program', () => {
  const directory = mkdtempSync(join(tmpdir(), 'skep-map-test-'))
  const file = join(directory, 'program.ts')
  let platform: TestPlatform
  let code: Program
  const executor = (options: ExecutorOptions = {}): Executor => new Executor({ url: platform.url, key: platform.key, ...options })
  const deployed = async (): Promise<string[]> => {
    const { functions } = await platform.json<{ functions: { name: string }[] }>('/v1/functions')
    return functions.map(({ name }) => name).filter((name) => name.startsWith('map-'))
  }

  before(async () => {
    platform = await startTestPlatform()
    writeFileSync(join(directory, 'lib.ts'), 'export const doubled = (x: number): number => x * 2')
    writeFileSync(file, program)
    code = await import(pathToFileURL(file).href) as Program
  })
  after(async () => {
    await platform[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })

  test('gives 1,000 results in the order of the items (E1), by one deployment that later runs use again', async () => {
    await using run = executor()
    const items = Array.from({ length: 1000 }, (_, at) => at)
    assert.deepEqual(await run.results(run.map(code.twice, items)), items.map((item) => item * 2))
    const names = await deployed()
    await using again = executor()
    assert.deepEqual(await again.results(again.map(code.twice, items, { chunk: 77 })), items.map((item) => item * 2))
    assert.equal(await again.callAsync(code.default, 3).result(), 2)
    assert.equal(await again.callAsync({ module: pathToFileURL(file).href, name: 'twice' }, 4).result(), 8)
    assert.deepEqual(await deployed(), names)
    const { revisions } = await platform.json<{ revisions: unknown[] }>(`/v1/functions/${names.find((name) => name.includes('program'))!}/revisions`)
    assert.equal(revisions.length, 1)
  })

  test('takes and gives structured values, and large ones as they are', async () => {
    await using run = executor()
    const values = [new Map([['a', new Set([1n])]]), new Date(7), undefined, null, [NaN, -0], new Float32Array([1, 2]), { deep: { buffer: Buffer.from('x') } }]
    assert.deepEqual(await run.results(run.map<unknown, unknown>(code.same, values)), values)
    const large = Array.from({ length: 20 }, (_, at) => Buffer.alloc(1024 * 1024, at))
    const back = await run.results(run.map(code.same<Buffer>, large))
    back.forEach((bytes, at) => assert.equal(Buffer.compare(bytes, large[at]!), 0))
  })

  test('throws what the function threw, with its stack, and tells each item of a chunk its own', async () => {
    await using run = executor()
    const futures = run.map(code.fails, [0, 1, 2, 3], { chunk: 4 })
    assert.deepEqual([await futures[0]!.result(), await futures[2]!.result()], [0, 2])
    const error = await futures[1]!.result().then(() => assert.fail(), (thrown: unknown) => thrown as RemoteError)
    assert.ok(error instanceof RemoteError)
    assert.deepEqual([error.name, error.message, error.code, (error.cause as Error).name], ['OutOfRange', '1 is odd', 'E_RANGE', 'TypeError'])
    assert.match(error.remoteStack!, /at fails \(program\.ts:\d+:\d+\)/)
    assert.doesNotMatch(error.remoteStack!, /skep-map-remote/)
    assert.match(error.stack!, /map\.test\.ts/)
    const record = await platform.record(error.invocationId!)
    assert.equal(record.status, 500)
    assert.match(record.logs.map(({ text }) => text).join('\n'), /3 is odd/)
  })

  test('says what cannot be sent, and to which function', async () => {
    await using run = executor()
    await assert.rejects(run.callAsync(code.same, { f: () => 1 }).result(), { code: 'INPUT_INVALID', message: /item for same/ })
    await assert.rejects(run.callAsync(code.returnsFunction, 1).result(), /cannot be sent/)
    await assert.rejects(run.callAsync(code.getHidden(), 1).result(), /does not export hidden/)
    assert.throws(() => run.callAsync(Math.max, 1), { code: 'INPUT_INVALID', message: /native/ })
    assert.throws(() => run.callAsync(code.twice.bind(null), 1), { code: 'INPUT_INVALID', message: /module: import\.meta\.url/ })
  })

  test('does again what a killed instance had, but not what the function threw', async () => {
    await using run = executor({ instanceConcurrency: 1 })
    const marks = await run.results(run.map(code.keeps, ['a', 'b']))
    assert.deepEqual(await run.results(run.map(code.dies, marks)), ['second attempt', 'second attempt'])
    await using once = executor({ instanceConcurrency: 1, retries: 0 })
    const [mark] = await once.results(once.map(code.keeps, ['a']))
    await assert.rejects(once.callAsync(code.dies, mark!).result(), { code: 'FUNCTION_EXITED' })
  })

  test('starts a second copy of the last one when it is late, and takes the first answer', async () => {
    await using run = executor({ speculate: true, instanceConcurrency: 1 })
    const mark = await run.callAsync(code.keeps, 'a').result()
    const startedMs = performance.now()
    // Its object can be had twice: the first copy has it twice and is slow, the second finds it used up.
    const results = await run.results(run.map(code.slowOnce, [...Array.from({ length: 39 }, () => null), mark]))
    assert.deepEqual([results.at(-1), new Set(results.slice(0, -1))], ['copy', new Set(['quick'])])
    assert.ok(performance.now() - startedMs < 15_000)
  })

  test('waits for any or all, and cancels what runs', async () => {
    await using run = executor()
    await run.callAsync(code.twice, 1).result()
    const futures = run.map(code.waits, [60_000, 5, 60_000])
    assert.equal((await run.wait(futures, 'always'))[0].length, 0)
    assert.deepEqual((await run.wait(futures, 'any'))[0], [futures[1]])
    assert.equal(await futures[1]!.result(), 5)
    const [done, pending] = await run.wait(futures, 'all', 20)
    assert.deepEqual([done.length, pending.length], [1, 2])
    const busy = async (): Promise<number> => {
      const { functions } = await platform.json<{ functions: { instances: { busy: number } }[] }>('/v1/functions')
      return functions.reduce((sum, { instances }) => sum + instances.busy, 0)
    }
    assert.ok(await busy() >= 1)
    for (const future of futures) future.cancel()
    assert.equal((await run.wait(futures, 'all'))[1].length, 0)
    await assert.rejects(futures[0]!.result(), { code: 'CANCELLED' })
    await until(async () => (await busy()) === 0, 'no instance is busy any more')
  })

  test('counts the words of references that functions have put, and gives reducers their shares (E2)', async () => {
    await using run = executor()
    const texts = Array.from({ length: 20 }, (_, at) => `all of text${at} `.repeat(at + 1))
    const references = await run.results(run.map(code.keeps, texts))
    const all = await run.mapReduce(countWords, { references }, addUp, { chunk: 3 }).result()
    assert.deepEqual([all.get('all'), all.get('text'), all.size], [210, 210, 3])
    const shares = await run.mapReduce(countWords, { references }, addUp, { reducers: 3 }).result()
    assert.equal(shares.length, 3)
    assert.deepEqual(new Map(shares.flatMap((share: Counts) => [...share])), all)
  })

  test('counts the words of 20 stored objects, whole and in parts', async () => {
    const s3 = s3Client(platform, await s3Credentials(platform))
    await s3.send(new CreateBucketCommand({ Bucket: 'texts' }))
    const expected: Counts = new Map()
    for (let at = 0; at < 20; at++) {
      const text = Array.from({ length: 50 * at }, (_, line) => `line ${'abcdefghij'[line % 10]} of ü\n`).join('')
      for (const [word, count] of countWords(Buffer.from(text))) expected.set(word, (expected.get(word) ?? 0) + count)
      await s3.send(new PutObjectCommand({ Bucket: 'texts', Key: `in put/${at}+&.txt`, Body: text }))
    }
    await s3.send(new PutObjectCommand({ Bucket: 'texts', Key: 'other', Body: 'other' }))
    s3.destroy()
    {
      await using run = executor()
      for (const chunkBytes of [undefined, 3000]) {
        const objects = { bucket: 'texts', prefix: 'in put/', ...(chunkBytes !== undefined && { chunkBytes }) }
        assert.deepEqual(await run.mapReduce(countWords, objects, addUp).result(), expected)
      }
      const lengths = await run.results(await run.mapObjects(code.lengthOf, { bucket: 'texts', prefix: 'in put/1', as: 'stream' }))
      assert.deepEqual(lengths.find(([key]) => key === 'in put/19+&.txt'), ['in put/19+&.txt', 950 * 13])
      const single = await run.results(await run.mapObjects(countWords, { bucket: 'texts', prefix: 'in put/' }))
      assert.equal(single.length, 20)
      await assert.rejects(run.mapReduce(countWords, { bucket: 'nowhere' }, addUp).result(), { code: 'ENTITY_NOT_FOUND' })
    }
    const { credentials } = await platform.json<{ credentials: { name: string }[] }>('/v1/s3/credentials')
    assert.deepEqual(credentials.filter(({ name }) => name === 'map client'), [], 'revoked')
  })

  test('runs mappers again when a reducer has died with what they made', async () => {
    const seen: Progress[] = []
    await using run = executor({ instanceConcurrency: 1, progress: (progress) => seen.push(progress) })
    const mark = await run.callAsync(code.keeps, 'a').result()
    assert.deepEqual(await run.mapReduce(code.same, [mark, 'b', 'c'], code.diesReducing).result(), ['second attempt', 'b', 'c'])
    const last = seen.filter(({ what, done, total }) => what === 'same (map)' && done === total)
    assert.deepEqual(last.map(({ total, failed }) => [total, failed]), [[3, 0]])
  })

  test('fails a map-reduce with the first error, and lets go of the rest', async () => {
    await using run = executor()
    await assert.rejects(run.mapReduce(code.fails, [0, 2, 3], code.same).result(), { name: 'OutOfRange', message: '3 is odd' })
    await assert.rejects(run.mapReduce(code.twice, [1, 2], { module: file, name: 'hidden' }).result(), RemoteError)
    await assert.rejects(run.mapReduce(code.twice, [1], code.same, { reducers: 2 }).result(), /must be a Map/)
  })

  test('deploys changed code anew, runs nothing of the module here, and removes what it deployed when told', async () => {
    const changing = join(directory, 'changing.ts')
    const marker = join(directory, 'ran-here')
    const write = (answer: number): void => writeFileSync(changing, `
      import { writeFileSync } from 'node:fs'
      try { writeFileSync(${JSON.stringify(marker)}, '') } catch {}
      export const answer = () => ${answer}
    `)
    const answers: unknown[] = []
    const names: string[][] = []
    for (const value of [1, 2, 1]) {
      write(value)
      await using run = executor()
      answers.push(await run.callAsync({ module: changing, name: 'answer' }, null).result())
      names.push((await deployed()).filter((name) => name.includes('changing')))
    }
    assert.deepEqual([answers, names.map((list) => list.length)], [[1, 2, 1], [1, 2, 2]])
    assert.throws(() => rmSync(marker), { code: 'ENOENT' }, 'the module ran on this side')
    const run = executor()
    assert.equal(await run.callAsync({ module: changing, name: 'answer' }, null).result(), 1)
    await run.close({ remove: true })
    assert.equal((await deployed()).filter((name) => name.includes('changing')).length, 1)
  })

  test('knows the same code at another place (D1)', async () => {
    const deeper = join(directory, 'some', 'where')
    mkdirSync(deeper, { recursive: true })
    for (const name of ['program.ts', 'lib.ts']) copyFileSync(join(directory, name), join(deeper, name))
    await using run = executor()
    assert.equal(await run.callAsync({ module: file, name: 'twice' }, 1).result(), 2)
    const names = await deployed()
    assert.equal(await run.callAsync({ module: join(deeper, 'program.ts'), name: 'twice' }, 1).result(), 2)
    assert.deepEqual(await deployed(), names)
  })

  test('tells a program that would map from the cloud what to do (E3)', async () => {
    const unguarded = join(directory, 'unguarded.ts')
    writeFileSync(unguarded, `import { Executor } from ${client}\nexport const f = (x: number) => x\nawait new Executor().map(f, [1])[0].result()\n`)
    await using run = executor()
    await assert.rejects(run.callAsync({ module: unguarded, name: 'f' }, 1).result(), { code: 'INIT_FAILED', message: /import\.meta\.main/ })
  })

  test('deploys again a function that somebody removed', async () => {
    await using run = executor()
    assert.equal(await run.callAsync(inCircle, { seed: 1, points: 1000 }).result(), inCircle({ seed: 1, points: 1000 }))
    for (const name of await deployed()) if (name.includes('pi')) await platform.send(`/v1/functions/${name}`, { method: 'DELETE' })
    assert.equal(await run.callAsync(inCircle, { seed: 2, points: 1000 }).result(), inCircle({ seed: 2, points: 1000 }))
  })
})
