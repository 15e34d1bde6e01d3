/**
 * The two inputs of every function: one to record its working set with, the other to replay (thesis 4.3.4 and 5.3.3).
 *
 * Everything is made from seeds, so that no data has to be kept; photos and frames are drawn by common/draw.c. Sizes are those
 * of ordinary requests, and photos, orders and clips are larger than others, as in the thesis. So many orders, reviews and letters
 * are sent that a warm invocation takes about as long as the thesis's (Figure 4.2), wherever ours would take longer: else a cold one
 * would mostly measure the interpreter.
 */
import type { Order } from './json-serdes/json-serdes.ts'
import { fileHere, Here } from './here.ts'
import { ON_SALE, skuOnSale } from './kit/products.ts'
import { Random } from './kit/random.ts'
import { drawRank, STOP_WORDS, wordOf, writeReview } from './kit/words.ts'

export const whichInputs = ['record', 'replay'] as const
export type WhichInput = (typeof whichInputs)[number]

type Maker = (which: WhichInput) => string | Promise<Buffer>

const makers: Readonly<Record<string, Maker>> = {
  hello: (which) => JSON.stringify(which === 'record' ? { name: 'Ada', language: 'it' } : { name: 'Grace Hopper', language: 'it' }),
  'html-table': (which) =>
    JSON.stringify(
      which === 'record'
        ? { columns: ['id', 'title', 'author', 'views', 'rating'], longerThan: 12_000, sort: 'views', rows: 150 }
        : { columns: ['id', 'title', 'author', 'published', 'tags'], longerThan: 11_000, sort: 'rating', rows: 150 },
    ),
  aes: (which) => (which === 'record' ? `0 f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff\n${prose(11, 4096)}` : `0 000102030405060708090a0b0c0d0e0f\n${prose(12, 4096)}`),
  'image-rotate': async (which) =>
    which === 'record'
      ? Buffer.concat([Buffer.from('rotate 90 camera 12\n'), await draw(1600, 1200, 801, 88, 0)])
      : Buffer.concat([Buffer.from('rotate 270 camera 12\n'), await draw(1600, 1200, 977, 80, 0)]),
  'json-serdes': (which) => JSON.stringify({ orders: which === 'record' ? orders(21, 2000) : orders(22, 1950) }),
  // Stop words are left out, as many clients do; the others come about equally often.
  'lr-serving': (which) => reviews(which === 'record' ? 31 : 32, 40, 50, (random) => STOP_WORDS + random.below(500)).map(({ text }) => text).join('\n'),
  'cnn-serving': async (which) => Buffer.concat([Buffer.from('classify model 1\n'), await draw(320, 240, which === 'record' ? 501 : 677, 85, 0)]),
  'rnn-serving': (which) => (which === 'record' ? 'names 4 17 abcde\n' : 'names 11 23 mprst\n'),
  'lr-training': (which) =>
    [
      which === 'record' ? 'train epochs 10 rate 6000 fold 3' : 'train epochs 10 rate 4000 fold 7',
      ...reviews(which === 'record' ? 41 : 42, 20, 80, (random) => drawRank(random, 500)).map(({ label, text }) => `${label > 0 ? '+' : '-'} ${text}`),
    ].join('\n'),
  // Another aspect ratio, as in the thesis, and some more frames.
  'video-gray': (which) => (which === 'record' ? clip(5, 640, 360, 600, 24) : clip(40, 560, 416, 700, 27)),
}

/** @param name One of functions.json. */
export async function inputOf(name: string, which: WhichInput): Promise<Buffer> {
  const made = await makers[name]!(which)
  return typeof made === 'string' ? Buffer.from(made) : made
}

/** So many letters. */
function prose(seed: number, letters: number): string {
  const random = new Random(seed)
  let text = ''
  while (text.length < letters) text += `${wordOf(drawRank(random, 5000))} `
  return text.slice(0, letters)
}

/** Half of them praise. Nearly all of their words are among 500; one in 800 is any that there is. */
function reviews(seed: number, count: number, length: number, draw: (random: Random) => number): { readonly label: -1 | 1; readonly text: string }[] {
  const random = new Random(seed)
  const drawOrRare = (): number => (random.below(800) === 0 ? random.below(40_000) : draw(random))
  return Array.from({ length: count }, (_, index) => {
    const label = index % 2 === 0 ? 1 : -1
    return { label, text: writeReview(random, label, length, drawOrRare) }
  })
}

/** Of the products on sale, some are wanted more. */
function orders(seed: number, count: number): Order[] {
  const random = new Random(seed)
  return Array.from({ length: count }, (_, id) => ({
    id: seed * 10_000 + id,
    customer: `${wordOf(random.below(400))} ${wordOf(random.below(2000))}`,
    address: { street: `${wordOf(random.below(3000))} ${String(1 + random.below(150))}`, town: wordOf(random.below(300)), code: String(10_000 + random.below(80_000)) },
    lines: Array.from({ length: 1 + random.below(6) }, () => ({
      sku: skuOnSale(random.below(2) === 0 ? drawRank(random, ON_SALE) : random.below(ON_SALE)),
      count: 1 + random.below(4),
      ...(random.below(10) === 0 && { note: prose(random.next(), 30) }),
    })),
  }))
}

async function clip(film: number, width: number, height: number, seed: number, frames: number): Promise<Buffer> {
  const parts: Uint8Array[] = [Buffer.from(`gray film ${film}\n`)]
  for (let frame = 0; frame < frames; frame++) parts.push(await draw(width, height, seed, 75, Math.round((frame * 600) / frames)))
  return Buffer.concat(parts)
}

let drawer: Promise<Here> | undefined

async function draw(width: number, height: number, seed: number, quality: number, phase: number): Promise<Buffer> {
  drawer ??= Here.boot({ kind: 'wasm', path: fileHere('common/draw.wasm'), memoryMb: 64 })
  return (await drawer).invoke(Buffer.from(`draw ${width} ${height} ${seed} ${quality} ${phase}\n`))
}
