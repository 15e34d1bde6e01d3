/**
 * Goal: the functions in C answer what they should, to both inputs, from a restored memory, and refuse what they cannot read.
 * Method: the real guest in this process (here.ts). What can be told without them is told without: labels that the inputs were
 * written for, sizes that a rotation exchanges, a JPEG that libjpeg made. For the rest there are known answers.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { readModule } from '../../runtimes/faaslet/wasm/module.ts'
import { fileHere, Here } from './here.ts'
import { inputOf, whichInputs } from './inputs.ts'
import { sentimentOf, wordOf } from './kit/words.ts'
import { bootListed, isKnownAnswer, listedFunctions } from './listed.ts'

/** A gradient of 64 x 48 in colour, 4:2:0, quality 75, by libjpeg 6.2. */
const byLibJpeg = Buffer.from(
  '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQ' +
    'wLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/wAARCAAwAEADASIAAhEBAxEB/8QAHwAAAQUBAQEBAQEAAAAA' +
    'AAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRk' +
    'dISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3' +
    '+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREAAgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNO' +
    'El8RcYGRomJygpKjU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU' +
    '1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDw+O2x2q7HbY7Vejtsdqmjtsdqmdf2X9bEYfEXII7bHar0dtjtV6O2x2qWO2x2r051/Zf1sexh8Rchjt' +
    'sdqux22O1Xo7bHapo7bHavSnX9l/Wx7GHxFyCO2x2q9HbY7Vdjtsdqmjtsdq9Odf2X9bHsYfEXOFjtsdqux22O1Xo7bHapo7bHavjJ1/Zf1sfiuHxNzKjtsdqux22O1Xo7' +
    'bHapo7bHavmZ1/Zf1sfQ4fEXLEdtjtV2O2x2q9HbY7VNHbY7V+lzr+y/rY7sPiLmVHbY7VdjtsdqvR22O1TR22O1fMzr+y/rY+iw+IucpHbY7VdjtsdqvR22O1TR22O1bT' +
    'r+y/rY/C8PiLkEdtjtV2O2x2q9HbY7VNHbY7V6U6/sv62PYw+Iuc3HbY7VdjtsdqvR22O1TR22O1fkE6/sv62Pq8PiLkMdtjtV2O2x2q9HbY7VNHbY7V6c6/sv62PXw+Iu' +
    'f//Z',
  'base64',
)

async function answers(name: string, here: Here): Promise<{ readonly record: string; readonly replay: string }> {
  const given = { record: '', replay: '' }
  for (const which of whichInputs) {
    const answer = await here.invoke(await inputOf(name, which))
    assert(isKnownAnswer(name, which, answer), `${name} answers ${which} otherwise than before: ${answer.toString()}`)
    given[which] = answer.toString()
  }
  return given
}

async function refuses(here: Here, ...requests: readonly string[]): Promise<void> {
  for (const request of requests) assert.match((await here.invoke(Buffer.from(request))).toString(), /^error: .+\n$/)
}

const mean = (sum: readonly number[]): number => sum.reduce((a, b) => a + b, 0) / sum.length

test('the modules are small, and import nothing but reading and writing', () => {
  for (const { entry } of listedFunctions().filter(({ kind }) => kind === 'wasm')) {
    const bytes = readFileSync(fileHere(entry))
    assert(bytes.length < 100_000)
    const module = readModule(bytes)
    for (const { name } of module.imports) assert.match(name, /^(?:fd_(?:read|write|close|seek|fdstat_get)|proc_exit)$/)
    const names = module.exports.map(({ name }) => name)
    assert(['_initialize', 'skep_init', 'handle'].every((name) => names.includes(name)))
  }
})

test('image-rotate turns a photo, whose colours stay', async () => {
  const here = await bootListed('image-rotate')
  const { record } = await answers('image-rotate', here)
  assert.match(record, /^rotated 1200 x 1600, /)
  const jpeg = byLibJpeg.toString('latin1')
  const colours: number[][] = []
  for (const degrees of [90, 180, 270]) {
    const answer = (await here.invoke(Buffer.from(`rotate ${degrees} camera 3\n${jpeg}`, 'latin1'))).toString()
    assert.match(answer, degrees === 180 ? /^rotated 64 x 48, / : /^rotated 48 x 64, /)
    colours.push(/mean colour (\d+) (\d+) (\d+)/.exec(answer)!.slice(1).map(Number))
  }
  assert.deepEqual(colours[0], colours[1])
  assert.deepEqual(colours[0], colours[2])
  await refuses(here, '', 'rotate 45 camera 1\n', 'rotate 90 camera 64\n', 'rotate 90 camera 1', 'rotate 90 camera 1\nGIF89a')
})

test('video-gray gives as many frames of the same size, each as light as before', async () => {
  const here = await bootListed('video-gray')
  const { record, replay } = await answers('video-gray', here)
  assert.match(record, /^24 frames of 640 x 360, /)
  assert.match(replay, /^27 frames of 560 x 416, /)
  const three = Buffer.concat([Buffer.from('gray film 0\n'), byLibJpeg, byLibJpeg, byLibJpeg])
  const greys = /mean grey (\d+) (\d+) (\d+)/.exec((await here.invoke(three)).toString())!.slice(1).map(Number)
  assert.equal(new Set(greys).size, 1)
  await refuses(here, '', 'gray film 96\n', 'gray film 1\n', 'gray film 1\nRIFF')
})

test('cnn-serving gives five different classes, the best first, and each model its own', async () => {
  const here = await bootListed('cnn-serving')
  const { record } = await answers('cnn-serving', here)
  const scores = [...record.matchAll(/(\d+)\/1000/g)].map((match) => Number(match[1]))
  assert.deepEqual(scores, scores.toSorted((a, b) => b - a))
  assert(scores.length === 5 && scores.reduce((a, b) => a + b, 0) <= 1002)
  assert.equal(new Set(record.match(/\. .*:/g)).size, 5)
  const other = await here.invoke(Buffer.from((await inputOf('cnn-serving', 'record')).toString('latin1').replace('model 1', 'model 0'), 'latin1'))
  assert.notEqual(other.toString(), record)
  await refuses(here, '', 'classify model 2\n', 'classify model 1\n')
})

test('rnn-serving writes a name for every initial, that can be spoken', async () => {
  const here = await bootListed('rnn-serving')
  const { record, replay } = await answers('rnn-serving', here)
  assert.equal(record.match(/^[A-Z]/gm)!.join(''), 'ABCDE')
  assert.equal(replay.match(/^[A-Z]/gm)!.join(''), 'MPRST')
  const names = [...`${record}${replay}`.matchAll(/^([A-Z][a-z]*): \d+\/1000, (?:known \(\d+\)|new \(0\))$/gm)].map((match) => match[1]!)
  assert.equal(names.length, 10)
  assert(mean(names.map((name) => name.match(/[aeiou]/gi)?.length ?? 0)) > mean(names.map((name) => name.length)) / 4)
  // In a register of 120,000 names, short ones are known.
  const many = (await here.invoke(Buffer.from('names 4 5 abcdefghijklmnopqrstuvw\n'))).toString()
  assert.match(many, /known \([1-9]/)
  await refuses(here, '', 'names 18 1 a\n', 'names 3 1\n')
})

test('lr-training learns to tell praise from blame, in what it has not seen and in what it is given', async () => {
  const here = await bootListed('lr-training')
  const { record, replay } = await answers('lr-training', here)
  const sentiments = new Map(Array.from({ length: 40_000 }, (_, rank) => [wordOf(rank), sentimentOf(rank)]))
  for (const answer of [record, replay]) {
    const losses = [...answer.matchAll(/loss (\d+)/g)].map((match) => Number(match[1]))
    assert(losses.length === 10 && losses.every((loss, epoch) => epoch === 0 || loss <= losses[epoch - 1]!))
    // The strongest words are words of praise and of blame here too: both languages know the same ones.
    for (const [name, sentiment] of [['praise', 1], ['blame', -1]] as const) {
      const words = new RegExp(`${name}: (.*)`).exec(answer)![1]!.split(' ')
      assert.deepEqual(words.map((word) => sentiments.get(word)), Array.from({ length: 5 }, () => sentiment))
    }
    assert(Number(/: (\d+)\/1000 right/.exec(answer)![1]) > 850)
    assert.match(answer, /given:(?: \+ -){10}\n/)
  }
  await refuses(here, '', 'train epochs 0 rate 1 fold 1\n', 'train epochs 1 rate 1 fold 10\n')
})

describe('the JPEG codec', () => {
  test('sees in a file of libjpeg what libjpeg sees, and reads what it wrote itself', async () => {
    const drawer = await Here.boot({ kind: 'wasm', path: fileHere('common/draw.wasm'), memoryMb: 64 })
    const look = async (jpeg: Uint8Array): Promise<readonly string[]> => (await drawer.invoke(Buffer.concat([Buffer.from('look\n'), jpeg]))).toString().trim().split(' ')
    // libjpeg's own means, which it rounds otherwise.
    const [width, , height, , channels, ...seen] = await look(byLibJpeg)
    assert.deepEqual([width, height, channels], ['64', '48', '3'])
    const expected = [61, 56, 63, 189, 57, 188, 61, 177, 146, 189, 177, 103]
    seen.forEach((value, index) => assert(Math.abs(Number(value) - expected[index]!) <= 2, `${value} is not ${expected[index]}`))
    // Sky above, hills below.
    const [, , , , , ...quarters] = await look(await drawer.invoke(Buffer.from('draw 160 96 600 85 250\n')))
    assert(Number(quarters[2]) > 180 && Number(quarters[8]) < 60)
  })

  test('ends, whatever it is given', async () => {
    const drawer = await Here.boot({ kind: 'wasm', path: fileHere('common/draw.wasm'), memoryMb: 64 })
    const change = fc.tuple(fc.nat(byLibJpeg.length - 1), fc.nat(255))
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 8 }), fc.nat(byLibJpeg.length), async (changes, length) => {
        const jpeg = Buffer.from(byLibJpeg)
        for (const [at, byte] of changes) jpeg[at] = byte
        const answer = (await drawer.invoke(Buffer.concat([Buffer.from('look\n'), jpeg.subarray(0, length)]))).toString()
        assert.match(answer, /^(?:error: |\d+ x \d+ x [13] )/)
      }),
      { numRuns: 300 },
    )
  })
})
