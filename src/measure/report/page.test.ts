/**
 * Goal: a report shows every number it was given, beside the thesis's, in one file that loads nothing; and a run's words, however hostile, stay words.
 *
 * Method: the example run, its page taken apart; titles, messages and addresses of generated and of well-known hostile text.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { seededRandom } from '#base/seeded-random.ts'
import { SUMMARY_FILE } from '../run-summary.ts'
import { exampleParts, writeExampleRun } from './example-run.ts'
import { html, htmlPage } from './html.ts'
import { loadRun } from './load-run.ts'
import type { LoadedRun } from './load-run.ts'
import { tableMarkdown } from './markdown.ts'
import { reportPage } from './page.ts'
import { makeReport } from './report.ts'
import { terminalSummary } from './terminal.ts'
import { writeReport } from './write-report.ts'

let root = ''
let run: LoadedRun
let page = ''
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'skep-page-'))
  await writeExampleRun(join(root, 'run'))
  run = await loadRun(join(root, 'run'))
  page = pageOf(run)
})
after(() => rm(root, { recursive: true, force: true }))

function pageOf(one: LoadedRun): string {
  return reportPage(makeReport(one, seededRandom(1)), { command: 'skep measure run <file>' })
}

const empty = new Set(['meta', 'br', 'path', 'line', 'rect', 'circle'])

/** Elements are closed in order, attributes quoted; gives the names of all of them. */
function elementsOf(text: string): string[] {
  const open: string[] = []
  const names: string[] = []
  const rest = text.replace('<!doctype html>', '').replaceAll(/<style>[^<]*<\/style>/g, '').replace(/<(\/?)([a-z][a-z0-9]*)((?: [a-zA-Z0-9:-]+="[^"<>]*")*) ?(\/?)>/g, (_, closing: string, name: string, attributes: string, alone: string) => {
    names.push(name)
    assert.doesNotMatch(attributes, / (?:on\w+|href|src|style)="/i)
    if (closing !== '') assert.equal(open.pop(), name)
    else if (alone === '' && !empty.has(name)) open.push(name)
    return ''
  })
  assert.deepEqual(open, [])
  assert.doesNotMatch(rest, /[<>]/)
  return names
}

describe('a page', () => {
  test('is well-formed, and loads and runs nothing', () => {
    const names = elementsOf(page)
    assert.deepEqual(names.filter((name) => ['script', 'link', 'img', 'iframe', 'object', 'image', 'use', 'a', 'form'].includes(name)), [])
    assert.match(page, /default-src 'none'; style-src 'unsafe-inline'/)
    assert.doesNotMatch(page, /url\(|@import/)
    assert.doesNotMatch(page, /NaN|Infinity|undefined|\[object/)
  })

  test('is readable in the dark and on a phone', () => {
    assert.match(page, /color-scheme:light dark/)
    assert.equal(page.match(/@media\(prefers-color-scheme:dark\)/g)!.length, 2)
    assert.match(page, /name="viewport" content="width=device-width/)
    assert.match(page, /\.wide\{overflow-x:auto/)
    // Whatever is wider than a phone scrolls in a box of its own.
    assert.equal(page.match(/<(?:svg|table)\b/g)!.length, page.match(/<div class="wide"><(?:svg|table)\b/g)!.length)
  })

  test('says what was measured, on what, when and how', () => {
    for (const said of ['Example CPU &lt;4 GHz&gt;', '2026-11-21T10:00:00.000Z', 'skep measure run &lt;file&gt;', 'http://127.0.0.1:8080', 'v26.10.0', '8 min 0 s']) assert(page.includes(said), said)
  })

  test('has each figure of the chapter with its plot, and the thesis\'s values beside', () => {
    for (const number of ['3.3', '3.4', '3.5', '3.6', '3.7', '3.8', '3.9']) {
      const part = page.slice(page.indexOf(`(Figure ${number})</h2>`)).split('<h2>')[0]!
      assert(part.includes('<svg') && part.includes('tr class="thesis"'), number)
    }
    for (const said of ['Python, container', '2\u202f882', '5\u202f781', '37.3', '38\u202f545', 'Bursty long', '619', '§3.5.4.3']) assert(page.includes(said), said)
  })

  test('prints no percentile without samples enough, and no interval for it', () => {
    const row = page.match(/<tr><td>1s, burst 100<\/td>.*?<\/tr>/)![0]
    assert.deepEqual([...row.matchAll(/needs (\d+) samples/g)].map((match) => match[1]), ['368', '3688', '368'])
    assert.match(page, /<tr><td>warm<\/td><td>4\u202f000<\/td><td>2<small>\[1\.98, 2\.01\]<\/small>/)
  })

  test('has phases, lateness, outcomes and what is missing', async () => {
    const directory = join(root, 'poor')
    await writeExampleRun(directory, { parts: [
      { ...exampleParts[0]!, lateP99Ms: 3, failures: [{ code: '502', message: 'bad gateway', count: 7 }], limitations: [{ field: 'FunctionMemoryMB', message: 'memory is not limited here' }] },
      { ...exampleParts[1]!, outcome: { kind: 'not-run', reason: 'instances never end' } },
    ] })
    const poor = pageOf(await loadRun(directory))
    elementsOf(poor)
    for (const said of ['The driver may be what was measured', 'more than a tenth of the median', 'bad gateway', 'memory is not limited here', 'instances never end', 'not in this run']) assert(poor.includes(said), said)
    for (const said of ['Where the time goes', 'restore', '1.4']) assert(page.includes(said), said)
    assert(!page.includes('The driver may be what was measured'))
  })

  test('of the original\'s results says what is not known', async () => {
    const directory = join(root, 'original')
    await writeExampleRun(directory)
    await rm(join(directory, SUMMARY_FILE))
    const text = pageOf(await loadRun(directory))
    elementsOf(text)
    assert(text.includes('the machine, the date and settings that are not in the names of directories are not known') && text.includes('(Figure 3.8)'))
  })

  test('is the same for the same run (A3)', () => {
    assert.equal(pageOf(run), page)
  })
})

describe('hostile words', () => {
  const hostile = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '\'); alert(1); (\'', '</style><script>', '</svg></title><b>', '&lt;b&gt;', '\u202egnp.exe', '\u001b[2J\u001b]0;x\u0007', ']]>', '<!--', '${1}$&$1', 'a | b ](x)']

  function poisoned(words: string): LoadedRun {
    const summary = run.summary!
    const results = summary.results.map((one) => ({
      ...one, title: words, settings: { ...one.settings, Title: words, Runtime: words }, failures: [{ code: words, message: words, count: 1 }], limitations: [{ field: 'Runtime' as const, message: words }],
      phases: { [words]: { p50: 1, p99: 2 } }, outcome: { kind: 'given-up' as const, reason: words },
    }))
    return {
      name: words, notes: [words], summary: { ...summary, experiment: words, warnings: [words], provider: { ...summary.provider, name: words, about: { [words]: words } }, client: { ...summary.client, cpu: words }, results },
      subExperiments: run.subExperiments.map((one, index) => ({ ...one, settings: results[index]!.settings, result: results[index]!, factor: index % 3 === 0 ? 'other' : one.factor })),
    }
  }

  test('stay words in the page, in the terminal and in Markdown', () => {
    const names = new Set(elementsOf(page))
    for (const words of hostile) {
      const report = makeReport(poisoned(words), () => 0.5)
      for (const name of elementsOf(reportPage(report, { command: words }))) assert(names.has(name) || name === 'b', `${name} by ${words}`)
      assert.doesNotMatch(terminalSummary(report), /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/)
      const markdown = tableMarkdown(report.table)
      assert.doesNotMatch(markdown, /<|\u001b/)
      for (const line of markdown.split('\n').filter((one) => one.startsWith('|'))) assert.equal(line.match(/(?<!\\)\|/g)!.length, 11)
    }
  })

  test('of any kind are escaped by the template', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom(...hostile)), (words) => {
      const text = htmlPage(words, '', html`<p class="${words}">${[words, html`<b>${words}</b>`]}</p>`)
      assert.deepEqual(elementsOf(text).filter((name) => name === 'b' || name === 'p'), ['p', 'b', 'b', 'p'])
      assert.doesNotMatch(text, /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ud800-\udfff]/u)
    }), { numRuns: 300 })
    assert.equal(html`${undefined}${0}${['a', undefined]}`.text, '0a')
  })
})

describe('the summary for the terminal', () => {
  test('has a line for each sub-experiment and transfer, in columns', () => {
    const lines = terminalSummary(makeReport(run, seededRandom(1))).trimEnd().split('\n')
    assert.equal(lines.length, 1 + exampleParts.length + 8)
    const column = lines[0]!.indexOf('p50 ms') + 'p50 ms'.length
    for (const line of lines) assert.match([...line].slice(column - 1, column + 1).join(''), /^\S ?$/, line)
    assert.match(lines[1]!, /^0 +warm +4\u202f000 +2 +3\.17 +3\.67 +1\.59 +0\.1 +done$/)
    assert.match(lines.at(-1)!, /needs 368 +needs 3\u202f688 +– .*interrupted$/)
  })
})

describe('writing', () => {
  test('puts page, table and plots into the directory, and PNG files where there is a converter', async () => {
    const output = join(root, 'out')
    const { files, notes, text } = await writeReport(join(root, 'run'), { output, command: 'skep measure run <file>' })
    assert.equal(await readFile(join(output, 'report.html'), 'utf8'), page)
    assert(text.startsWith('#'))
    const svgs = files.filter((file) => file.endsWith('.svg'))
    assert.equal(svgs.length, 11)
    for (const file of svgs) elementsOf((await readFile(file, 'utf8')))
    const pngs = files.filter((file) => file.endsWith('.png'))
    if (notes.length === 0) {
      assert.equal(pngs.length, svgs.length)
      for (const file of pngs) assert.equal((await readFile(file)).subarray(1, 4).toString(), 'PNG')
    } else assert.match(notes.join('\n'), /^no PNG files: rsvg-convert is not installed/)
  })

  test('without a converter says so once', async () => {
    const output = join(root, 'bare')
    const { files, notes } = await writeReport(join(root, 'run'), { output, converter: join(root, 'no-such-program') })
    assert.equal(notes.length, 1)
    assert.match(notes[0]!, /^no PNG files: .*no-such-program is not installed/)
    assert(files.every((file) => !file.endsWith('.png')))
    await stat(join(output, 'report.md'))
  })

  test('with a converter that fails names the file and keeps the others', async () => {
    const { notes, files } = await writeReport(join(root, 'run'), { output: join(root, 'failing'), converter: 'false' })
    assert.equal(notes.length, files.filter((file) => file.endsWith('.svg')).length)
    assert(notes.every((note) => /figure-.*\.png: /.test(note)), basename(notes[0]!))
  })

  test('where it can\'t is refused', async () => {
    await writeFile(join(root, 'file'), '')
    await assert.rejects(writeReport(join(root, 'run'), { output: join(root, 'file') }), { code: 'INPUT_INVALID', message: /cannot be made \(ENOTDIR\): name another directory/ })
  })
})
