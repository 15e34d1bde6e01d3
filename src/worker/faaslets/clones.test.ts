/**
 * Goal: clones of one snapshot share what it holds and nothing that has to be secret: of 10,000 no two draw an equal random value, by
 * any way that there is; and what one writes, no other sees.
 *
 * Method: a real host, asked by frames; each invocation is a clone. The values come back, and are counted.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import type { InvocationRequest } from '#contract/invocation.ts'
import type { Instance } from '../instance.ts'
import { workerGround, workerSkip } from '../worker.harness.ts'
import type { WorkerGround } from '../worker.harness.ts'
import { eventually, snapshotStore } from './faaslets.harness.ts'

const CLONES = 10_000
/** At once: so that they overlap in the host, too. */
const AT_ONCE = 32
const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))

const draws = {
  'index.js': `
    const early = Math.random()
    export function main() { return [early, Math.random(), crypto.getRandomValues(new BigUint64Array(1))[0].toString(), crypto.randomUUID()] }
  `,
} as const
const command = { 'main.wasm': readFileSync(join(import.meta.dirname, '../../../test/functions/wasm/command.wasm')) }

describe('clones', { skip: workerSkip, timeout: 60_000 }, () => {
  after(() => rmSync(runtimes, { recursive: true, force: true }))

  /** The answers of so many clones of the snapshot, none of the booted instance's own. */
  async function answers(ground: WorkerGround, instance: Instance, request: Partial<InvocationRequest>): Promise<string[]> {
    const texts: string[] = []
    let left = CLONES
    await Promise.all(Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) {
        const { text, sink, invocation } = await ground.invoke(instance, request)
        assert.equal(sink.error, undefined)
        assert.equal(invocation.startFigures?.start, 'snapshot')
        texts.push(text)
      }
    }))
    return texts
  }

  test('of JavaScript: Math.random, getRandomValues and randomUUID', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(draws, { kind: 'js' }))
    await eventually(() => store.list()[0], 'the snapshot was taken')
    const drawn = (await answers(ground, instance, {})).map((text) => JSON.parse(text) as unknown[])
    const distinct = [0, 1, 2, 3].map((at) => new Set(drawn.map((values) => values[at])).size)
    // What was drawn while loading is the snapshot's, and shows that they are clones of one.
    assert.deepEqual(distinct, [1, CLONES, CLONES, CLONES])
  })

  test('of C: random_get', async (context) => {
    const { store } = await snapshotStore(context)
    const ground = workerGround(context, { snapshots: store, runtimes })
    const instance = await ground.start(ground.revision(command, { kind: 'wasm' }))
    await eventually(() => store.list()[0], 'the snapshot was taken')
    const texts = await answers(ground, instance, { kind: 'http', method: 'GET', path: '/random' })
    assert.ok(texts.every((text) => /^(\d{1,3},){16}$/.test(text)))
    assert.equal(new Set(texts).size, CLONES)
  })
})
