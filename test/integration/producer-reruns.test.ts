/**
 * Goal: an object that was lost with the platform is made again by its producer, for functions that say so, once for all that ask, and never otherwise.
 *
 * Method: a platform is killed (SIGKILL) while it has objects, started again on the same data, and the old references are used.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

/** Puts as many objects as it is asked for; answers with their references. `fails` once the platform has been started again. */
const PRODUCER = `import { put } from 'skep'
import { readFileSync } from 'node:fs'
let runs = 0
export async function main({ objects, bytes, fill, padding, how }) {
  runs++
  const references = []
  for (let n = 0; n < (how === 'once' && process.env.AGAIN === 'yes' ? 0 : objects); n++) references.push(await put(Buffer.alloc(bytes, fill + n), { retrievals: 3 }))
  if (how === 'throws' && process.env.AGAIN === 'yes') throw new Error('not again')
  return { references, runs, padded: padding?.length ?? 0 }
}`
const CONSUMER = `import { get } from 'skep'
export async function main({ reference }) {
  try {
    const bytes = await get(reference)
    return { bytes: bytes.length, first: bytes[0], last: bytes[bytes.length - 1] }
  } catch (error) {
    return { code: error.code, details: error.details, message: error.message }
  }
}`

interface Made {
  readonly references: readonly string[]
  readonly invocation: string
}

async function deploy(platform: TestPlatform, again: 'yes' | 'no'): Promise<void> {
  for (const [name, retry] of [['keeps', 'producer'], ['forgets', 'never']] as const) await platform.deployText(name, 'producer.mjs', PRODUCER, { retry, environment: { AGAIN: again } })
  await platform.deployText('consumer', 'consumer.mjs', CONSUMER)
}

/** Asks producers, kills the platform, and starts it again on the same data. */
async function afterCrash(context: TestContext, asked: readonly { readonly name: string; readonly event: object }[]): Promise<{ readonly platform: TestPlatform; readonly made: readonly Made[] }> {
  const data = mkdtempSync(join(tmpdir(), 'skep-rerun-'))
  context.after(() => rmSync(data, { recursive: true, force: true }))
  const made: Made[] = []
  {
    await using platform = await startTestPlatform({ data })
    await deploy(platform, 'no')
    for (const { name, event } of asked) {
      const answer = await platform.invoke(name, event)
      assert.equal(answer.status, 200, answer.text)
      made.push({ references: answer.json().references, invocation: answer.id })
    }
    await platform.kill()
  }
  const platform = await startTestPlatform({ data })
  context.after(() => platform[Symbol.asyncDispose]())
  await deploy(platform, 'yes')
  return { platform, made }
}

const get = async (platform: TestPlatform, reference: string): Promise<any> => (await platform.invoke('consumer', { reference })).json()

test('lost objects are made again by one run of their producer, with the same input, however large that is', async (context) => {
  const { platform, made } = await afterCrash(context, [
    { name: 'keeps', event: { objects: 2, bytes: 100_000, fill: 7 } },
    { name: 'keeps', event: { objects: 1, bytes: 5, fill: 40, padding: 'x'.repeat(50_000) } },
  ])
  const [two, padded] = made
  const answers = await Promise.all([two!.references[1]!, two!.references[0]!, two!.references[0]!, padded!.references[0]!].map((reference) => get(platform, reference)))
  assert.deepEqual(answers, [{ bytes: 100_000, first: 8, last: 8 }, { bytes: 100_000, first: 7, last: 7 }, { bytes: 100_000, first: 7, last: 7 }, { bytes: 5, first: 40, last: 40 }])
  const again = async (): Promise<number> => ((await platform.send('/v1/invocations?function=keeps&limit=50')).json() as { invocations: readonly { readonly attempt: number }[] }).invocations.filter(({ attempt }) => attempt === 2).length
  await until(async () => (await again()) >= 2, 'both runs have their records')
  assert.equal(await again(), 2)
})

test('others stay lost, with an error that names who made them', async (context) => {
  const { platform, made } = await afterCrash(context, [
    { name: 'forgets', event: { objects: 1, bytes: 10, fill: 1 } },
    { name: 'keeps', event: { objects: 1, bytes: 10, fill: 1, how: 'once' } },
    { name: 'keeps', event: { objects: 1, bytes: 10, fill: 1, how: 'throws' } },
  ])
  const [never, once, throws] = made
  for (const [name, { references, invocation }] of [['forgets', never!], ['keeps', once!]] as const) {
    const { code, details } = await get(platform, references[0]!)
    assert.deepEqual([code, details], ['OBJECT_LOST', { function: name, invocation }])
  }
  // It had put before it threw: that object is there.
  assert.deepEqual(await get(platform, throws!.references[0]!), { bytes: 10, first: 1, last: 1 })
})
