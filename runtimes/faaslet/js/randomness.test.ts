/**
 * Goal: no two faaslets of one snapshot share a random value (R1), and clocks are of now.
 * Method: 10,000 times the memory of one instance is set back to the snapshot, which is what restoring means to the guest.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Faaslet } from '../guest.ts'
import { GuestKit } from './guest-kit.ts'

const CLONES = 10_000

test('10,000 clones give no equal random value', { timeout: 120_000 }, async () => {
  const kit = await GuestKit.boot('const before = Math.random(); export default { fetch: () => new Response([Math.random(), Math.random(), crypto.randomUUID(), crypto.getRandomValues(new BigUint64Array(1))[0], before].join()) }')
  const one = kit.restore()
  const seen = new Set<string>()
  const befores = new Set<string>()
  for (let at = 0; at < CLONES; at++) {
    new Uint8Array(one.memory.buffer).set(kit.snapshot.memory)
    ;(one.exports['__stack_pointer'] as WebAssembly.Global).value = kit.snapshot.stackPointer
    const clone: Faaslet = { memory: one.memory, exports: one.exports, invocation: undefined, state: undefined }
    const values = (await kit.http('GET', '/', { faaslet: clone })).text.split(',')
    befores.add(values.pop()!)
    for (const value of values) seen.add(value)
  }
  assert.equal(seen.size, CLONES * 4)
  // What was drawn before the snapshot is part of it.
  assert.equal(befores.size, 1)
})

test('clocks are of now, and performance.now begins anew in every faaslet', async () => {
  const kit = await GuestKit.boot('performance.now(); export default { fetch: () => Response.json([Date.now(), performance.timeOrigin, performance.now()]) }')
  await new Promise((resolve) => setTimeout(resolve, 30))
  const [now, origin, since] = JSON.parse((await kit.http('GET', '/')).text) as [number, number, number]
  assert.ok(Math.abs(now - Date.now()) < 10_000 && Math.abs(origin - Date.now()) < 10_000)
  assert.ok(since >= 0 && since < 10, `${since}`)
})
