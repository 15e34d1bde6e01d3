/**
 * Goal: word counts and CSV totals are right, and the same in every language, wherever the body is cut.
 *
 * Method: each handler runs on the shipped input. Words are counted a third time by the shell example, totals computed
 * again from the generator's format in whole cents; and bodies come in pieces of random size.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { CsvReader } from './csv-totals/csv.ts'
import csvTotals from './csv-totals/index.ts'
import type { CsvTotals } from './csv-totals/index.ts'
import { examplesDirectory, readInput } from './inputs/read-input.ts'
import { writeBook } from './inputs/make-book.ts'
import { tableSizes, writeSales } from './inputs/make-tables.ts'
import { runPython, withoutPython } from './inputs/run-python.ts'
import wordCount from './word-count/index.ts'
import type { WordCount } from './word-count/index.ts'

interface FetchExample {
  fetch(request: Request): Promise<Response>
}

async function ask(example: FetchExample, query: string, body: Uint8Array, cuts: readonly number[] = []): Promise<{ status: number; json: unknown }> {
  const ends = [...new Set([...cuts.map((cut) => cut % (body.length + 1)), body.length])].sort((a, b) => a - b)
  const pieces = ends.map((end, index) => body.slice(ends[index - 1] ?? 0, end))
  const answer = await example.fetch(new Request(`http://function/${query}`, { method: 'POST', body: streamOf(pieces), duplex: 'half' } as RequestInit))
  return { status: answer.status, json: await answer.json() }
}

function streamOf(pieces: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(piece)
      controller.close()
    },
  })
}

const cutsOf = fc.array(fc.nat({ max: 1_000_000 }), { maxLength: 20 })

describe('word count', () => {
  test('agrees with the shell on every word of the book', async () => {
    const { json } = await ask(wordCount, '?top=100000', readInput('book.txt'))
    const { words, distinct, top } = json as WordCount
    const shell = spawnSync(join(examplesDirectory, 'command/top-words.sh'), { input: readInput('book.txt'), env: { PATH: process.env['PATH'], QUERY_STRING: 'a=b&top=100000' }, encoding: 'utf8' })
    const expected = shell.stdout.trimEnd().split('\n').map((line) => line.trim().split(/ +/)).map(([count, word]) => ({ word: word!, count: Number(count) }))
    assert.equal(words, expected.reduce((sum, { count }) => sum + count, 0))
    assert.equal(distinct, expected.length)
    const byWord = (list: WordCount['top']): WordCount['top'] => list.toSorted((a, b) => (a.word < b.word ? -1 : 1))
    assert.deepEqual(byWord(top), byWord(expected))
    assert.equal(top[0]!.word, 'the')
    assert(words > 60_000)
  })

  test('does not depend on where the body is cut, within a word or a letter', async () => {
    const text = Buffer.from("Don't stop: Ångström’s naïve café, 北海道 of 1859 — 'tis the\n\tÅNGSTRÖM’S end. 🌊don't")
    const expected = (await ask(wordCount, '', text)).json as WordCount
    assert.deepEqual(expected.top.slice(0, 2), [{ word: "don't", count: 2 }, { word: 'ångström’s', count: 2 }])
    await fc.assert(fc.asyncProperty(cutsOf, async (cuts) => assert.deepEqual((await ask(wordCount, '', text, cuts)).json, expected)))
    if (withoutPython === false) assert.deepEqual(runPython('word-count-py/main.py', 'handler', { event: { text: text.toString() } }), expected)
  })

  test('in Python gives the same, from text and from base64', { skip: withoutPython }, async () => {
    const expected = (await ask(wordCount, '?top=7', readInput('book.txt'))).json
    const common = { queryStringParameters: { top: '7' } }
    for (const event of [{ ...common, body: readInput('book.txt').toString(), isBase64Encoded: false }, { ...common, body: readInput('book.txt').toString('base64'), isBase64Encoded: true }]) {
      const runs = runPython('word-count-py/main.py', 'handler', { input: JSON.stringify(event) })
      assert.deepEqual(runs, expected)
    }
  })

  test('says what is wrong with the input', { skip: withoutPython }, async () => {
    assert.equal((await ask(wordCount, '?top=-1', Buffer.from('a'))).status, 400)
    assert.equal((await wordCount.fetch(new Request('http://function/'))).status, 400)
    for (const event of [{}, { text: 'a', top: 'many' }, { text: 'a', top: -1 }, { body: '/w==', isBase64Encoded: true }, { text: 7 }]) {
      assert.equal((runPython('word-count-py/main.py', 'handler', { event }) as { statusCode: number }).statusCode, 400)
    }
  })
})

describe('CSV totals', () => {
  test('add up to the cent, per region and per product', async () => {
    for (const [by, column] of [['region', 1], ['product', 2]] as const) {
      const answer = (await ask(csvTotals, `?by=${by}&value=amount`, readInput('sales.csv'))).json as CsvTotals
      const cents = new Map<string, bigint>()
      const lines = readInput('sales.csv').toString().trimEnd().split('\n').slice(1)
      for (const line of lines) {
        const fields = /^([^,]*),([^,]*),("(?:[^"]|"")*"|[^,]*),(\d+),(\d+)(?:\.(\d+))?$/.exec(line)!
        const key = fields[column + 1]!.replace(/^"(.*)"$/, '$1').replaceAll('""', '"')
        cents.set(key, (cents.get(key) ?? 0n) + BigInt(fields[5]! + (fields[6] ?? '').padEnd(2, '0')))
      }
      assert.equal(answer.rows, tableSizes.sales)
      assert.equal(answer.groups.reduce((sum, group) => sum + group.count, 0), tableSizes.sales)
      assert.deepEqual(answer.groups.map((group) => group.key), [...cents.keys()].sort())
      for (const group of answer.groups) {
        assert.equal(group.sum, Number(cents.get(group.key)!) / 100)
        assert(Math.abs(group.mean * group.count - group.sum) < 1e-5 && group.min <= group.mean && group.mean <= group.max)
      }
    }
  })

  test('are the same in Python, to the last bit', { skip: withoutPython }, async () => {
    for (const query of [{ by: 'product', value: 'amount' }, { by: 'date', value: 'quantity' }]) {
      const here = (await ask(csvTotals, `?${new URLSearchParams(query)}`, readInput('sales.csv'))).json
      assert.deepEqual(runPython('csv-totals-py/main.py', 'main', { input: readInput('sales.csv'), event: query }), here)
    }
  })

  test('say which column or row is wrong', { skip: withoutPython }, async () => {
    for (const [query, text, message] of [
      [{ by: 'colour' }, 'region,amount\n', /no column "colour".*region, amount/],
      [{}, 'region,amount\nnorth,1\nsouth,much\n', /Row 2 has "much"/],
      [{}, 'region,amount\nnorth\n', /Row 1 has ""/],
      [{}, '', /empty/],
    ] as const) {
      const { status, json } = await ask(csvTotals, `?${new URLSearchParams(query)}`, Buffer.from(text))
      assert.equal(status, 400)
      assert.match((json as { error: { message: string } }).error.message, message)
      const python = runPython('csv-totals-py/main.py', 'main', { input: text, event: query }) as { statusCode: number; error: string }
      assert.equal(python.statusCode, 400)
      assert.match(python.error, message)
    }
  })
})

describe('the CSV reader', () => {
  const field = fc.oneof(fc.string({ maxLength: 6 }), fc.stringMatching(/^[a",\r\n ]{0,6}$/), fc.constantFrom('', 'Tea, green', 'Oil "Olivér"'))
  const rows = fc.array(fc.array(field, { minLength: 1, maxLength: 4 }), { maxLength: 6 })
  const lineEnd = fc.constantFrom('\n', '\r\n')
  const write = (table: readonly string[][], end: string): string => table.map((row) => row.map((text) => (/[",\r\n]/.test(text) || text === '' ? `"${text.replaceAll('"', '""')}"` : text)).join(',') + end).join('')

  test('gives back what was written, wherever it is cut (C1)', () => {
    fc.assert(fc.property(rows, lineEnd, fc.boolean(), cutsOf, (table, end, closed, cuts) => {
      const text = closed || table.length === 0 ? write(table, end) : write(table, end).slice(0, -end.length)
      assert.deepEqual(read(text, cuts), table)
    }))
  })

  test('takes any text, and the same rows from it wherever it is cut (C1)', () => {
    fc.assert(fc.property(fc.stringMatching(/^[ab",\r\n]{0,30}$/), cutsOf, (text, cuts) => assert.deepEqual(read(text, cuts), read(text, []))))
  })

  test('leaves out empty lines, and takes a stray quote as it is', () => {
    assert.deepEqual(read('a,b\n\n\r\n5" pipe,"x"y"z"\n', []), [['a', 'b'], ['5" pipe', 'xy"z"']])
  })

  function read(text: string, cuts: readonly number[]): string[][] {
    const reader = new CsvReader()
    const ends = [...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b)
    return [...ends.flatMap((end, index) => reader.push(text.slice(ends[index - 1] ?? 0, end))), ...reader.end()]
  }
})

test('the shipped book and sales are what their programs write', () => {
  assert.equal(readInput('book.txt').toString(), writeBook())
  assert.equal(readInput('sales.csv').toString(), writeSales())
})
