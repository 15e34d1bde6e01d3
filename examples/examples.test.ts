/**
 * Goal: every other example does what it says on its shipped input, and demo.json names only what is there.
 *
 * Method: handlers are called directly. Totals are computed again another way; the HTML is taken apart by a small scanner;
 * the two functions of the chain call each other through the real SDK, whose runtime here is a table of handlers.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { EncryptionKeyError, handler } from './encrypt/index.ts'
import events from './events.ts'
import { main as hello } from './hello.ts'
import { examplesDirectory, readInput } from './inputs/read-input.ts'
import { tableSizes, writeOrders, writeStock } from './inputs/make-tables.ts'
import { runPython, withoutPython } from './inputs/run-python.ts'
import { main as orderTotals } from './order-totals/index.ts'
import type { OrderTotals } from './order-totals/index.ts'
import { main as price } from './chain/price.ts'

describe('hello', () => {
  test('greets, alike in both languages', { skip: withoutPython }, () => {
    for (const params of [{}, { name: 'Skep' }]) assert.deepEqual(runPython('hello.py', 'main', { event: params }), hello(params))
    assert.deepEqual(hello({}), { greeting: 'Hello, world!' })
  })
})

describe('order totals', () => {
  interface Line { readonly quantity: number; readonly unitCents: number; readonly discountPercent?: number }
  interface Order { readonly status: string; readonly customer: { readonly id: string; readonly country: string }; readonly lines: readonly Line[] }
  const input = JSON.parse(readInput('orders.json').toString()) as { orders: Order[] }
  const totals = orderTotals(input as unknown as Parameters<typeof orderTotals>[0]) as OrderTotals

  test('add up: per customer, per country and in all', () => {
    let cents = 0
    const byId: Record<string, number> = {}
    for (const { status, customer, lines } of input.orders) {
      if (status === 'cancelled') continue
      for (const { quantity, unitCents, discountPercent = 0 } of lines) {
        const line = Number((BigInt(quantity * unitCents) * BigInt(100 - discountPercent) + 50n) / 100n)
        cents += line
        byId[customer.id] = (byId[customer.id] ?? 0) + line
      }
    }
    assert.equal(totals.totalCents, cents)
    assert.deepEqual(Object.fromEntries(totals.customers.map((customer) => [customer.id, customer.totalCents])), byId)
    assert.equal(Object.values(totals.countries).reduce((sum, value) => sum + value, 0), cents)
  })

  test('leave out cancelled orders, and come largest first', () => {
    assert.equal(totals.orders + totals.cancelled, tableSizes.orders)
    assert(totals.cancelled > 0)
    assert.equal(totals.orders, totals.customers.reduce((sum, customer) => sum + customer.orders, 0))
    const amounts = totals.customers.map((customer) => customer.totalCents)
    assert.deepEqual(amounts, amounts.toSorted((a, b) => b - a))
  })

  test('say what to send when there are no orders', () => {
    assert.equal((orderTotals({}) as { statusCode: number }).statusCode, 400)
  })
})

describe('encrypt', { concurrency: false }, () => {
  const key = '0123456789abcdef'.repeat(4)
  const withKey = async <T>(value: string | undefined, run: () => Promise<T>): Promise<T> => {
    if (value === undefined) delete process.env['ENCRYPTION_KEY']
    else process.env['ENCRYPTION_KEY'] = value
    return run().finally(() => delete process.env['ENCRYPTION_KEY'])
  }
  const seal = async (text: string, with_ = key): Promise<string> => ((await withKey(with_, () => handler({ text }, {}))) as { box: string }).box
  const open = (box: string, with_ = key): Promise<{ text?: string; statusCode?: number }> => withKey(with_, () => handler({ box }, {}))

  test('decrypts what it encrypted, from nothing to a whole book', async () => {
    for (const text of ['', 'ä€😀', readInput('book.txt').toString()]) assert.deepEqual(await open(await seal(text)), { text })
  })

  test('never makes the same box twice', async () => {
    assert.notEqual(await seal('same'), await seal('same'))
  })

  test('refuses a box that was changed by one bit anywhere, cut, or made under another key', async () => {
    const bytes = Buffer.from(await seal('secret'), 'base64')
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes)
      changed[bit >> 3]! ^= 1 << (bit & 7)
      assert.equal((await open(changed.toString('base64'))).statusCode, 400)
    }
    for (let end = 0; end < bytes.length; end++) assert.equal((await open(bytes.subarray(0, end).toString('base64'))).statusCode, 400)
    assert.equal((await open(bytes.toString('base64'), 'f'.repeat(64))).statusCode, 400)
  })

  test('says how to set the secret when it is missing or no key, and what to send', async () => {
    await assert.rejects(withKey(undefined, () => handler({ text: 'a' }, {})), (error) => error instanceof EncryptionKeyError && /skep secret set ENCRYPTION_KEY/.test(error.message))
    await assert.rejects(withKey('short', () => handler({ text: 'a' }, {})), /5 characters, and must be 64 hex digits/)
    assert.equal(((await withKey(key, () => handler({}, {}))) as { statusCode: number }).statusCode, 400)
  })
})

describe('HTML table', { skip: withoutPython }, () => {
  interface Page { readonly statusCode: number; readonly headers: Record<string, string>; readonly body: string }
  const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#x27': "'" }
  const unescape = (text: string): string => text.replaceAll(/&([#\w]+);/g, (_all, name: string) => entities[name]!)
  const cellsOf = (html: string, tag: string): string[] => [...html.matchAll(new RegExp(`<${tag}(?: class="number")?>([^<>]*)</${tag}>`, 'g'))].map((match) => unescape(match[1]!))

  test('has every value of the shipped rows, and gives back the very text of each', () => {
    const input = JSON.parse(readInput('stock.json').toString()) as { title: string; columns: string[]; rows: Record<string, unknown>[] }
    const { statusCode, headers, body } = runPython('html-table/main.py', 'main', { input: readInput('stock.json') }) as Page
    assert.deepEqual([statusCode, headers['content-type']], [200, 'text/html; charset=utf-8'])
    assert.deepEqual(cellsOf(body, 'th'), input.columns)
    const expected = input.rows.flatMap((row) => input.columns.map((name) => String(row[name] ?? '')))
    assert.deepEqual(cellsOf(/<tbody>([^]*)<\/tbody>/.exec(body)![1]!, 'td'), expected)
    assert(expected.some((text) => text.includes('<olive>')) && !body.includes('<olive>'))
    assert(body.includes(`<td colspan="5">${tableSizes.stock} rows</td>`))
  })

  test('cannot be made to hold a tag by a title, a column or a value', () => {
    const evil = '</td><script>alert("1")</script>\'&amp;'
    const { body } = runPython('html-table/main.py', 'main', { event: { title: evil, rows: [{ [evil]: evil }] } }) as Page
    assert(!body.includes('<script'))
    assert.deepEqual([cellsOf(body, 'th'), cellsOf(/<tbody>([^]*)<\/tbody>/.exec(body)![1]!, 'td'), cellsOf(body, 'h1')], [[evil], [evil], [evil]])
  })

  test('sets numbers to the right, and says what to send when there are no rows', () => {
    const { body } = runPython('html-table/main.py', 'main', { event: { rows: [{ n: 1, ok: true, s: '2' }, { n: null, ok: false }] } }) as Page
    assert(body.includes('<th class="number">n</th><th>ok</th><th>s</th>') && body.includes('<td class="number">1</td><td>yes</td><td>2</td>'))
    assert.equal((runPython('html-table/main.py', 'main', { event: { rows: [1] } }) as Page).statusCode, 400)
  })
})

describe('server-sent events', () => {
  const ask = (query: string): Response => events.fetch(new Request(`http://function/${query}`))

  test('count the primes that there are (78,498 below a million), one event a step', async () => {
    const answer = ask('?limit=1000000&steps=8')
    assert.equal(answer.headers.get('content-type'), 'text/event-stream')
    const sent = (await answer.text()).trimEnd().split('\n\n')
    assert.equal(sent.length, 8)
    assert.equal(sent[0], 'id: 1\nevent: progress\ndata: {"upTo":125000,"primes":11734}')
    assert.match(sent.at(-1)!, /"upTo":1000000,"primes":78498/)
  })

  test('are right for small limits and for more steps than numbers', async () => {
    for (const [limit, primes] of [[1, 0], [2, 1], [3, 2], [4, 2], [10, 4], [100, 25]]) assert.match((await ask(`?limit=${limit}&steps=13`).text()).trimEnd(), new RegExp(`"upTo":${limit},"primes":${primes}\\}$`))
  })

  test('stop being computed when the client goes away', async () => {
    const reader = ask('?limit=1000000000&steps=1000').body!.getReader()
    await reader.read()
    await reader.cancel()
    assert.equal((await reader.read()).done, true)
  })

  test('refuse what makes no sense', () => {
    for (const query of ['?limit=0', '?limit=2e9', '?steps=x', '?steps=1001']) assert.equal(ask(query).status, 400)
  })
})

describe('the chain', () => {
  // The SDK is where the runtime puts it, and finds there what the runtime hands it.
  const sdk = pathToFileURL(join(examplesDirectory, '..', 'runtimes', 'node', 'sdk', 'index.js')).href
  registerHooks({ resolve: (specifier, context, next) => (specifier === 'skep' ? { url: sdk, shortCircuit: true } : next(specifier, context)) })
  const called: string[] = []
  Object.assign(globalThis, {
    [Symbol.for('skep.runtime')]: {
      async invoke(name: string, payload: unknown) {
        called.push(name)
        try {
          return JSON.parse(JSON.stringify(price(JSON.parse(JSON.stringify(payload)) as Parameters<typeof price>[0]))) as unknown
        } catch (error) {
          throw Object.assign(new Error((error as Error).message), { name: 'PlatformError', code: 'FUNCTION_THREW' })
        }
      },
    },
  })

  test('asks for the price of each article and adds up; what has no price is named', async () => {
    const { main: quote } = await import('./chain/quote.ts')
    const lines = [{ sku: 'TEA-GRN', quantity: 11 }, { sku: 'TEA-GRN', quantity: 12 }, { sku: 'TEA-GRN', quantity: 144 }, { sku: 'GOLD', quantity: 1 }]
    const answer = await quote({ lines })
    assert('lines' in answer)
    assert.deepEqual(answer.lines.map((line) => line.unitCents), [485, 437, 388])
    assert.equal(answer.totalCents, 11 * 485 + 12 * 437 + 144 * 388)
    assert.deepEqual(answer.refused.map((one) => one.sku), ['GOLD'])
    assert.match(answer.refused[0]!.reason, /no article "GOLD"/)
    assert.deepEqual(called, ['price', 'price', 'price', 'price'])
    assert('error' in (await quote({})))
  })
})

describe('what is shipped', () => {
  test('demo.json names files that are there, and its box opens with its key', async () => {
    interface Demo { readonly functions: readonly { readonly name: string; readonly path: string; readonly config?: { readonly environment: Record<string, string> }; readonly calls: readonly { readonly file?: string; readonly data?: object }[] }[] }
    const demo = JSON.parse(readFileSync(join(examplesDirectory, 'demo.json'), 'utf8')) as Demo
    assert.equal(new Set(demo.functions.map((one) => one.name)).size, demo.functions.length)
    for (const { path, calls } of demo.functions) {
      for (const file of [path, ...calls.flatMap((call) => call.file ?? [])]) assert(existsSync(join(examplesDirectory, file)), file)
    }
    const { config, calls } = demo.functions.find((one) => one.name === 'encrypt')!
    process.env['ENCRYPTION_KEY'] = config!.environment['ENCRYPTION_KEY']!
    assert.deepEqual(await handler(calls[1]!.data!, {}), calls[0]!.data)
    delete process.env['ENCRYPTION_KEY']
  })

  test('the tables are what their programs write, and the shell script may be executed', () => {
    assert.equal(readInput('orders.json').toString(), writeOrders())
    assert.equal(readInput('stock.json').toString(), writeStock())
    assert((statSync(join(examplesDirectory, 'command/top-words.sh')).mode & 0o111) !== 0)
  })
})
