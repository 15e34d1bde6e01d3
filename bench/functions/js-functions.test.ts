/**
 * Goal: the functions in JavaScript answer the same in the guest as in Node, the right thing, and refuse what they cannot read.
 * Method: the same sources are bundled for the real guest in this process (here.ts), and imported here. Node's own cipher, the
 * labels that reviews were written for, and plain sums say what is right.
 */
import assert from 'node:assert/strict'
import { createCipheriv } from 'node:crypto'
import { test } from 'node:test'
import type { Here } from './here.ts'
import { fileHere } from './here.ts'
import { inputOf, whichInputs } from './inputs.ts'
import type { Order } from './json-serdes/json-serdes.ts'
import { bootListed, isKnownAnswer, listedFunctions } from './listed.ts'

interface Module {
  readonly default: { fetch(request: Request): Promise<Response> }
}

async function inNode(name: string): Promise<(body: string) => Promise<Response>> {
  const { entry } = listedFunctions().find((one) => one.name === name)!
  const module = (await import(fileHere(entry))) as Module
  return (body) => module.default.fetch(new Request('http://here.local/', { method: 'POST', body }))
}

/** The answers of the guest, which are those of Node. */
async function answers(name: string): Promise<{ readonly record: string; readonly replay: string; readonly here: Here }> {
  const [here, node] = await Promise.all([bootListed(name), inNode(name)])
  const given = { record: '', replay: '' }
  for (const which of whichInputs) {
    const input = await inputOf(name, which)
    const answer = await here.invoke(input)
    given[which] = answer.toString()
    assert.equal(given[which], await (await node(input.toString())).text())
    assert(isKnownAnswer(name, which, answer), `${name} answers ${which} otherwise than before: ${given[which].slice(0, 1000)}`)
  }
  return { ...given, here }
}

async function refuses(name: string, ...requests: readonly string[]): Promise<void> {
  const node = await inNode(name)
  for (const request of requests) {
    const response = await node(request)
    assert.equal(response.status, 400)
    assert.match(await response.text(), /^error: .+\n$/)
  }
}

test('hello greets in the language that was asked for', async () => {
  const { record, replay, here } = await answers('hello')
  assert.deepEqual([record, replay], ['Ciao, Ada!\n', 'Ciao, Grace Hopper!\n'])
  assert.equal((await here.invoke(Buffer.from('{"name":"Ada","language":"ja"}'))).toString(), 'こんにちは、Ada！\n')
  await refuses('hello', '{}', '{"name":7}')
})

test('html-table has the columns and rows that were asked for, sorted and escaped', async () => {
  const { record } = await answers('html-table')
  const rows = record.split('<tr>').slice(2)
  assert.equal(rows.length, 150)
  const views = rows.map((row) => Number(/class="views \w+" title="[^"]*">(\d+)</.exec(row)![1]))
  assert.deepEqual(views, views.toSorted((a, b) => b - a))
  assert.match(record, /&amp; &lt;\w+&gt;/)
  assert.doesNotMatch(record, /& </)
})

test("aes encrypts as Node's own AES does", async () => {
  const { record, replay } = await answers('aes')
  for (const [which, answer] of [['record', record], ['replay', replay]] as const) {
    const input = (await inputOf('aes', which)).toString()
    const [head = '', text = ''] = input.split('\n', 2)
    const cipher = createCipheriv('aes-128-ctr', Buffer.from('2b7e151628aed2a6abf7158809cf4f3c', 'hex'), Buffer.from(head.split(' ')[1]!, 'hex'))
    const expected = cipher.update(text)
    let hash = 2_166_136_261
    for (const byte of expected) hash = Math.imul(hash ^ byte, 16_777_619)
    assert.equal(answer, `${expected.length} bytes, checksum ${(hash >>> 0).toString(16).padStart(8, '0')}, first block ${expected.subarray(0, 16).toString('hex')}\n`)
  }
  await refuses('aes', '', '30000 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\ntext', '1 f0f1\ntext')
})

test('json-serdes counts what was ordered', async () => {
  const { record } = await answers('json-serdes')
  const { orders } = JSON.parse((await inputOf('json-serdes', 'record')).toString()) as { readonly orders: readonly Order[] }
  const lines = orders.reduce((sum, order) => sum + order.lines.length, 0)
  assert(record.startsWith(`${orders.length} orders, ${lines} lines, ${new Set(orders.map(({ customer }) => customer)).size} customers, `))
  await refuses('json-serdes', '', '{}', '{"orders":[{"id":1,"customer":"x","lines":[{"sku":"none","count":1}]}]}')
})

test('lr-serving tells praise from blame in nine of ten reviews, however they are written', async () => {
  const { record, replay } = await answers('lr-serving')
  for (const answer of [record, replay]) {
    const judged = answer.split('\n').slice(0, 40)
    // Every other review was written to praise, the first one too.
    assert(judged.filter((line, index) => line.startsWith(index % 2 === 0 ? '+' : '-')).length >= 36)
  }
  const node = await inNode('lr-serving')
  const judgementOf = async (review: string): Promise<string> => (await node(review)).text()
  assert.equal(await judgementOf('“Mu, NA  (sa) sa… bafexxxx!”'), await judgementOf('bafexxxx mu na sa sa'))
  assert.match(await judgementOf('mu na sa sa bafexxxx'), /^\+ .*\n1 of 1 praise, 1 words unknown\n$/)
  await refuses('lr-serving', '', '\n\n')
})
