/**
 * The inputs of every function: one to record its working set with, another to replay (thesis 4.3.4 and 5.3.3), and three of other callers.
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
/** Further ones, of further callers: none has anything of its own in common with those two. */
export const otherInputs = [1, 2, 3] as const
type AnyInput = WhichInput | (typeof otherInputs)[number]

type Maker = (which: AnyInput) => string | Promise<Buffer>

/** What is said of the first two; a seed of its own for each of the others. */
function seedOf(which: AnyInput, record: number, replay: number): number {
  return which === 'record' ? record : which === 'replay' ? replay : 10_000 + 1000 * which + record
}

const names = { record: 'Ada', replay: 'Grace Hopper', 1: 'Barbara', 2: 'Radia Perlman', 3: 'Frances' } as const
const tables = {
  record: { columns: ['id', 'title', 'author', 'views', 'rating'], longerThan: 12_000, sort: 'views', rows: 150 },
  replay: { columns: ['id', 'title', 'author', 'published', 'tags'], longerThan: 11_000, sort: 'rating', rows: 150 },
  1: { columns: ['id', 'title', 'views', 'tags'], longerThan: 11_500, sort: 'title', rows: 150 },
  2: { columns: ['id', 'author', 'published', 'rating'], longerThan: 12_500, sort: 'published', rows: 150 },
  3: { columns: ['id', 'title', 'author', 'rating', 'tags'], longerThan: 11_200, sort: 'views', rows: 150 },
} as const
const rotations = { record: 'rotate 90 camera 12', replay: 'rotate 270 camera 12', 1: 'rotate 180 camera 12', 2: 'rotate 90 camera 12', 3: 'rotate 270 camera 12' } as const
const initials = { record: 'names 4 17 abcde', replay: 'names 11 23 mprst', 1: 'names 2 19 fghij', 2: 'names 7 21 klnos', 3: 'names 14 18 tuvwz' } as const
const trainings = { record: 'train epochs 10 rate 6000 fold 3', replay: 'train epochs 10 rate 4000 fold 7', 1: 'train epochs 10 rate 5000 fold 1', 2: 'train epochs 10 rate 4500 fold 5', 3: 'train epochs 10 rate 5500 fold 9' } as const

const makers: Readonly<Record<string, Maker>> = {
  hello: (which) => JSON.stringify({ name: names[which], language: 'it' }),
  'html-table': (which) => JSON.stringify(tables[which]),
  aes: (which) => `0 ${which === 'record' ? 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff' : '000102030405060708090a0b0c0d0e0f'}\n${prose(seedOf(which, 11, 12), 4096)}`,
  'image-rotate': async (which) => Buffer.concat([Buffer.from(`${rotations[which]}\n`), await draw(1600, 1200, seedOf(which, 801, 977), which === 'replay' ? 80 : 88, 0)]),
  'json-serdes': (which) => JSON.stringify({ orders: orders(seedOf(which, 21, 22), which === 'record' ? 2000 : 1950) }),
  // Stop words are left out, as many clients do; the others come about equally often.
  'lr-serving': (which) => reviews(seedOf(which, 31, 32), 40, 50, (random) => STOP_WORDS + random.below(500)).map(({ text }) => text).join('\n'),
  'cnn-serving': async (which) => Buffer.concat([Buffer.from('classify model 1\n'), await draw(320, 240, seedOf(which, 501, 677), 85, 0)]),
  'rnn-serving': (which) => `${initials[which]}\n`,
  'lr-training': (which) =>
    [trainings[which], ...reviews(seedOf(which, 41, 42), 20, 80, (random) => drawRank(random, 500)).map(({ label, text }) => `${label > 0 ? '+' : '-'} ${text}`)].join('\n'),
  // Another aspect ratio, as in the thesis, and some more frames.
  'video-gray': (which) => (which === 'replay' ? clip(40, 560, 416, 700, 27) : clip(5, 640, 360, seedOf(which, 600, 700), 24)),
}

/** @param name One of functions.json. */
export async function inputOf(name: string, which: AnyInput): Promise<Buffer> {
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
