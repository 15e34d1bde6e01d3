/**
 * Question: what would it save to keep pages once that several snapshots have, and what would it cost their restores?
 *
 * Pairs of images, taken as the platform takes them: of JavaScript functions, one tiny and one with 16 MB of data, twice of the same code, with one line more
 * at the end or at the beginning, and of different functions; and of a C function with another text. Counted are pages (4 KB) and chunks (64 KB) of the second that the first
 * has, too: at the same place (one could be mapped beneath the other), or anywhere (a store could keep them once); `different_runs` is how many pieces a
 * restore would have to lay over a base. snapshot-sharing/map-runs.c measures what that many pieces cost, in a process of its own.
 *
 * Baseline: one mapping of a whole image, as a restore is today. Not measured: images of more than one machine.
 * docs/decisions/0019-no-shared-chunks.md has what followed from it.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants, copyFileSync, readdirSync, readSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchContext, BenchResult } from '#cli/commands/bench.ts'
import { openSnapshot } from '#pager/open-snapshot.ts'
import { PageSet, runsOfPages } from '#pager/page-runs.ts'
import { PAGE_BYTES } from '#pager/snapshot.ts'
import { buildColdFunction, listFunctions } from '../kit/cold-functions.ts'
import type { ColdFunction } from '../kit/cold-functions.ts'
import { FaasletLab } from '../kit/faaslet-lab.ts'
import { round } from '../kit/figures.ts'

const CHUNK_PAGES = 16
const tiny = small('tiny', `export default { fetch() { return new Response('hello') } }`)
const other = small('other', `const words = ['a', 'b', 'c']\nexport function main({ at = 0 }) { return { word: words[at], url: new URL('/x', 'http://y').href } }`)
/** As large as the memory of a JavaScript function. */
const MAPPED_BYTES = 4 * 1024 * 1024

export default async function snapshotSharing(context: BenchContext): Promise<BenchResult> {
  await using lab = await FaasletLab.open()
  const [hello, table, training] = await Promise.all(listFunctions(['hello', 'html-table', 'lr-training'], false).map(buildColdFunction)) as [ColdFunction, ColdFunction, ColdFunction]
  context.step('taking the snapshots')
  const pairs: Record<string, ReturnType<typeof compare>> = {}
  const tinyImage = await imageOf(lab, tiny, 1)
  for (const [label, fn, image] of [['tiny', tiny, tinyImage], ['large', hello, await imageOf(lab, hello, 1)]] as const) {
    pairs[`js_${label}_same_code`] = compare(image, await imageOf(lab, fn, 2))
    pairs[`js_${label}_line_at_end`] = compare(image, await imageOf(lab, withLine(fn, 'end'), 3))
    pairs[`js_${label}_line_at_start`] = compare(image, await imageOf(lab, withLine(fn, 'start'), 4))
    pairs[`js_${label}_and_another`] = compare(image, await imageOf(lab, fn === tiny ? other : table, 5))
  }
  pairs['js_tiny_and_large'] = compare(tinyImage, await imageOf(lab, table, 6))
  pairs['c_one_text'] = compare(await imageOf(lab, training, 1), await imageOf(lab, withText(training), 2))
  context.step('mapping a base and runs over it')
  const mapped = measureMapping(context, lab.directory)
  return {
    figures: { ...pairs, ...(mapped !== undefined && { mapped }), reflink: hasReflinks(lab.directory) },
    baselines: mapped === undefined ? {} : { one_mapping_us: mapped.find(({ how, runs }) => how === 'map' && runs === 0)!.fillUs },
    ratios: Object.fromEntries(Object.entries(pairs).map(([name, { pages, same_place }]) => [`${name}_same_place`, round(same_place / pages, 3)])),
  }
}

/** Page by page: its digest, or nothing where it is zero. */
type Image = readonly (string | undefined)[]

async function imageOf(lab: FaasletLab, { name, files, config }: ColdFunction, number: number): Promise<Image> {
  await lab.boot(lab.revision({ namespace: 'bench', name, number, files, config }))
  const kept = lab.store.list().find(({ revision }) => revision === `bench/${name}@${number}`)!
  const directory = join(lab.directory, 'snapshots', readdirSync(join(lab.directory, 'snapshots')).find((entry) => entry.endsWith(kept.imageId))!)
  using snapshot = openSnapshot(directory)
  const { imageFd, imageOffset, imageBytes, pagesStored } = snapshot
  const stored = PageSet.of(pagesStored, imageBytes / PAGE_BYTES)
  const page = Buffer.alloc(PAGE_BYTES)
  return Array.from({ length: imageBytes / PAGE_BYTES }, (_, at) => {
    if (!stored.has(at)) return undefined
    readSync(imageFd, page, 0, PAGE_BYTES, imageOffset + at * PAGE_BYTES)
    return createHash('sha256').update(page).digest('hex')
  })
}

/** What `image` has that `base` has, too. */
function compare(base: Image, image: Image) {
  const chunks = (of: Image): (string | undefined)[] => Array.from({ length: Math.ceil(of.length / CHUNK_PAGES) }, (_, at) => {
    const pages = of.slice(at * CHUNK_PAGES, (at + 1) * CHUNK_PAGES)
    return pages.every((page) => page === undefined) ? undefined : pages.join()
  })
  const [baseChunks, imageChunks] = [chunks(base), chunks(image)]
  const pages = shared(base, image)
  const different = image.flatMap((page, at) => (page === base[at] ? [] : [at]))
  const large = shared(baseChunks, imageChunks)
  return {
    pages: pages.all, same_place: pages.samePlace, anywhere: pages.anywhere,
    chunks_64kb: large.all, chunks_same_place: large.samePlace, chunks_anywhere: large.anywhere,
    different_pages: different.length, different_runs: runsOfPages(Uint32Array.from(different)).length / 2,
    saved_kb_by_page: pages.samePlace * 4, saved_kb_by_chunk: large.samePlace * 64,
  }
}

function shared(base: Image, image: Image): { readonly all: number; readonly samePlace: number; readonly anywhere: number } {
  const known = new Set(base)
  const stored = image.flatMap((content, at) => (content === undefined ? [] : [{ content, at }]))
  return { all: stored.length, samePlace: stored.filter(({ content, at }) => base[at] === content).length, anywhere: stored.filter(({ content }) => known.has(content)).length }
}

function withLine(fn: ColdFunction, where: 'start' | 'end'): ColdFunction {
  const [[path, bytes]] = [...fn.files] as [[string, Uint8Array]]
  const line = Buffer.from('\nglobalThis.edited = [1, "one line"];\n')
  return { ...fn, files: new Map([[path, Buffer.concat(where === 'start' ? [line, bytes] : [bytes, line])]]) }
}

function small(name: string, text: string): ColdFunction {
  const nothing = Buffer.alloc(0)
  return { name, standsFor: '', files: new Map([['index.js', Buffer.from(text)]]), config: { kind: 'js', entry: 'index.js' }, recorded: nothing, replayed: nothing, others: [] }
}

/** As a compiler would make it of a source with another text of that length: code is not in the memory. */
function withText(fn: ColdFunction): ColdFunction {
  const [[path, bytes]] = [...fn.files] as [[string, Uint8Array]]
  const edited = Buffer.from(bytes)
  const at = /[a-z]{6}/.exec(edited.toString('latin1', Math.floor(edited.length * 0.9)))
  if (at === null) throw new Error(`${fn.name} has no text in its last tenth`)
  edited.write('edited', Math.floor(edited.length * 0.9) + at.index, 'latin1')
  return { ...fn, files: new Map([[path, edited]]) }
}

interface Mapped {
  readonly how: 'map' | 'read'
  readonly runs: number
  readonly fillUs: number
  readonly useUs: number
  readonly resetUs: number
}

/** Undefined where there is no C compiler. */
function measureMapping({ root, quick }: BenchContext, directory: string): readonly Mapped[] | undefined {
  const program = join(directory, 'map-runs')
  const { status } = spawnSync(process.env['CC'] ?? 'cc', ['-O2', '-o', program, join(root, 'bench/scenarios/snapshot-sharing/map-runs.c')])
  if (status !== 0) return undefined
  const ran = spawnSync(program, [join(directory, 'base'), join(directory, 'delta'), String(MAPPED_BYTES), quick ? '50' : '1000'], { encoding: 'utf8' })
  if (ran.status !== 0) throw new Error(`map-runs ended with ${ran.status}: ${ran.stderr}`)
  return JSON.parse(ran.stdout) as Mapped[]
}

/** Whether the file system can keep the same blocks in two files. */
function hasReflinks(directory: string): string {
  writeFileSync(join(directory, 'one'), 'a')
  try {
    copyFileSync(join(directory, 'one'), join(directory, 'two'), constants.COPYFILE_FICLONE_FORCE)
    return 'yes'
  } catch (thrown) {
    return `no: ${(thrown as NodeJS.ErrnoException).code}`
  }
}
