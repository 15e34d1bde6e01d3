/**
 * Goal: whatever a person points at becomes a revision's files that run, or a message with the place of the mistake.
 *
 * Method: real directories, files and zips in a temporary folder; bundles are written out again and imported, so that
 * "works" means that the built code answers.
 */
import assert from 'node:assert/strict'
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { PlatformError } from '#contract/errors.ts'
import { buildFunction, packCode } from './build-function.ts'
import type { BuiltFunction } from './build-function.ts'

let home: string
let count = 0
before(async () => { home = await mkdtemp(join(tmpdir(), 'skep-build-test-')) })
after(() => rm(home, { recursive: true, force: true }))

/** A new directory with these files. */
async function lay(files: Record<string, string>): Promise<string> {
  const directory = join(home, String(++count))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true })
    await writeFile(join(directory, path), text)
  }
  await mkdir(directory, { recursive: true })
  return directory
}

/** The built code, written out and imported. */
async function load(built: BuiltFunction): Promise<Record<string, (input?: unknown) => unknown>> {
  const directory = await lay(Object.fromEntries([...built.files].map(([path, file]) => [path, file.bytes.toString('utf8')])))
  return import(pathToFileURL(join(directory, built.entry)).href) as Promise<Record<string, () => unknown>>
}

async function refusal(building: Promise<unknown>): Promise<PlatformError> {
  const thrown = await building.then(() => assert.fail('was not refused'), (error: unknown) => error)
  assert(thrown instanceof PlatformError)
  return thrown
}

describe('node', () => {
  test('one TypeScript file needs no configuration, not even for an enum', async () => {
    const root = await lay({ 'hello.ts': 'enum Mood { good = "fine" }\nexport function main(params: { name: string }): object { return { text: `${params.name} ${Mood.good}` } }' })
    const built = await buildFunction({ path: join(root, 'hello.ts') })
    assert.deepEqual([built.kind, built.entry, [...built.files.keys()]], ['node', 'hello.mjs', ['hello.mjs', 'hello.mjs.map']])
    assert.deepEqual((await load(built)).main!({ name: 'I am' }), { text: 'I am fine' })
  })

  test('a directory is bundled, and its data files lie where the code looks for them, from any module', async () => {
    const root = await lay({
      'index.ts': "import { inner } from './lib/inner.ts'\nimport table from './table.json'\nimport { readFileSync } from 'node:fs'\nexport const main = () => [readFileSync(new URL('./a.csv', import.meta.url), 'utf8'), inner(), table.rows]",
      'lib/inner.ts': "import { readFileSync } from 'node:fs'\nexport const inner = () => readFileSync(new URL('b.csv', import.meta.url), 'utf8') + readFileSync(import.meta.dirname + '/b.csv', 'utf8')",
      'a.csv': 'a', 'lib/b.csv': 'b', 'table.json': '{"rows": 3}', 'node_modules/unused/x.js': '', '.git/HEAD': '', '.env': 'SECRET=1', 'notes.txt': '', '.skepignore': '*.txt\n',
    })
    const built = await buildFunction({ path: root })
    assert.deepEqual([...built.files.keys()].sort(), ['a.csv', 'index.mjs', 'index.mjs.map', 'index.ts', 'lib/b.csv', 'lib/inner.ts', 'table.json'])
    assert.deepEqual((await load(built)).main!(), ['a', 'bb', 3])
    assert(built.sources.includes(join(root, 'lib/inner.ts')))
  })

  test('npm packages are bundled from node_modules', async () => {
    const root = await lay({ 'index.js': "import left from 'left'\nexport const main = () => left(2)", 'node_modules/left/package.json': '{"name":"left","main":"l.js"}', 'node_modules/left/l.js': 'module.exports = (n) => n * 21' })
    const built = await buildFunction({ path: root })
    assert.equal((await load(built)).main!(), 42)
    assert(![...built.files.keys()].some((path) => path.startsWith('node_modules')))
  })

  test('zod, a large library, is bundled and works', async () => {
    const root = await lay({ 'index.ts': "import * as z from 'zod'\nexport const main = (params: unknown) => z.object({ n: z.int() }).safeParse(params).success" })
    await mkdir(join(root, 'node_modules'))
    await symlink(join(import.meta.dirname, '../../node_modules/zod'), join(root, 'node_modules/zod'))
    const built = await buildFunction({ path: root })
    const { main } = await load(built)
    assert.deepEqual([main!({ n: 1 }), main!({ n: 1.5 })], [true, false])
  })

  test('a package that looks for files beside itself is shipped as installed, with what it depends on', async () => {
    const root = await lay({
      'index.mjs': "import words from 'words'\nexport const main = () => words()",
      'node_modules/words/package.json': '{"name":"words","main":"w.js","dependencies":{"trim":"1"}}',
      'node_modules/words/w.js': "const trim = require('trim')\nmodule.exports = () => trim(require('fs').readFileSync(__dirname + '/words.txt', 'utf8'))",
      'node_modules/words/words.txt': ' many ', 'node_modules/trim/package.json': '{"name":"trim","main":"t.js"}', 'node_modules/trim/t.js': 'module.exports = (s) => s.trim()',
    })
    const built = await buildFunction({ path: root })
    assert.equal((await load(built)).main!(), 'many')
    assert.match(built.warnings.join(), /unbundled.*words/)
  })

  test('CommonJS keeps working, with its names exported, and so does a script that exports nothing', async () => {
    const one = await load(await buildFunction({ path: join(await lay({ 'a.js': "const { sep } = require('node:path')\nexports.main = () => sep + __dirname.length" }), 'a.js') }))
    assert.match(String(one.main!()), /^\/\d+$/)
    const two = await load(await buildFunction({ path: join(await lay({ 'b.cjs': 'module.exports = { handler: async () => 7, other: 1 }' }), 'b.cjs') }))
    assert.equal(await two.handler!(), 7)
    const three = await load(await buildFunction({ path: join(await lay({ 'c.js': 'function main(params) { return { n: params.n + 1 } }' }), 'c.js') }))
    assert.deepEqual(three.main!({ n: 1 }), { n: 2 })
  })

  test('a syntax error tells file, line, column and shows the line', async () => {
    const root = await lay({ 'index.ts': "import './bad.ts'", 'bad.ts': 'export const a = 1\nconst b = ;\n' })
    const error = await refusal(buildFunction({ path: root }))
    assert.equal(error.code, 'CODE_INVALID')
    assert.match(error.message, /^bad\.ts:2:11: Unexpected token\.\n[^]*2: const b = ;/)
    assert.deepEqual([error.details?.['file'], error.details?.['line'], error.details?.['column']], ['bad.ts', 2, 11])
  })

  test('an import of a file or package that is not there is refused at deploy; one that is tried is not', async () => {
    assert.match((await refusal(buildFunction({ path: await lay({ 'index.ts': "import './nowhere.ts'" }) }))).message, /^index\.ts:1:8: Could not resolve/)
    assert.match((await refusal(buildFunction({ path: await lay({ 'index.ts': "import x from 'no-such-package'\nexport const main = () => x" }) }))).message, /npm install no-such-package/)
    assert.doesNotMatch((await refusal(buildFunction({ path: await lay({ 'index.ts': "import './nowhere.ts'\nconst a = 1" }) }))).message, /index\$/)
    const built = await buildFunction({ path: await lay({ 'index.mjs': "export const main = () => import('no-such-package').then(() => 1, () => 2)" }) })
    assert.equal(await (await load(built)).main!(), 2)
  })

  test("the platform's own module stays an import", async () => {
    const built = await buildFunction({ path: await lay({ 'index.ts': "import { invoke } from 'skep'\nexport const main = () => invoke" }) })
    assert.match(built.files.get('index.mjs')!.bytes.toString(), /from "skep"/)
  })
})

describe('other kinds', () => {
  test('Python goes as it is, after its syntax was checked', async (t) => {
    const built = await buildFunction({ path: await lay({ 'main.py': 'def main(params):\n    return {}\n', '__pycache__/main.pyc': '', 'requirements.txt': 'numpy' }) })
    assert.deepEqual([built.kind, built.entry, [...built.files.keys()]], ['python', 'main.py', ['main.py', 'requirements.txt']])
    assert.match(built.warnings.join(), /requirements\.txt/)
    const error = await buildFunction({ path: await lay({ 'main.py': 'def main(params):\n    return {\n' }) }).then(() => undefined, (thrown: unknown) => thrown as PlatformError)
    if (error === undefined) return t.skip('no Python on this machine')
    assert.match(error.message, /^main\.py:2:\d+: /)
  })

  test('a program keeps its bytes and is executable', async () => {
    const root = await lay({ 'run.sh': '#!/bin/sh\ncat\n' })
    await chmod(join(root, 'run.sh'), 0o644)
    const built = await buildFunction({ path: join(root, 'run.sh') })
    assert.deepEqual([built.kind, built.entry, built.files.get('run.sh')?.executable], ['command', 'run.sh', true])
  })

  test('standard input is recognised by its text', async () => {
    const kinds = []
    for (const text of ['export const main = () => 1', 'def main(params):\n  return params\n', '#!/bin/sh\ncat\n']) kinds.push((await buildFunction({ stdin: Buffer.from(text) })).kind)
    assert.deepEqual(kinds, ['node', 'python', 'command'])
  })

  test('what cannot be told is asked for', async () => {
    const root = await lay({ 'notes.txt': 'hello' })
    assert.match((await refusal(buildFunction({ path: join(root, 'notes.txt') }))).message, /--kind/)
    assert.match((await refusal(buildFunction({ path: root }))).message, /--entry/)
    assert.match((await refusal(buildFunction({ path: join(root, 'none.ts') }))).message, /no such file/)
  })
})

describe('packCode', () => {
  test('the same code in another place and at another time has the same digest', async () => {
    const files = { 'index.ts': "import { a } from './a.ts'\nexport const main = () => a", 'a.ts': 'export const a = 1', 'data/x.csv': '1' }
    const digests = []
    for (const root of [await lay(files), await lay(Object.fromEntries(Object.entries(files).reverse()))]) digests.push((await packCode((await buildFunction({ path: root })).files)).digest)
    assert.equal(digests[0], digests[1])
    assert.match(digests[0]!, /^[0-9a-f]{64}$/)
  })

  test('so has code with modules outside of its root, in directories of any name, and nothing of it tells where it was built (B1)', async () => {
    const files = {
      'index.ts': "import above from '../index.ts'\nimport common from '../index.cjs'\nimport { far } from '../shared/far.ts'\nimport inner from './lib/index.ts'\nimport left from 'left'\nimport { own } from './index.cjs'\nexport default { fetch: () => 1 }\nexport const main = () => [above(), common.up, far(), inner(), left(2), own]",
      'index.cjs': 'exports.own = 5', 'lib/index.ts': "import { far } from '../../shared/far.ts'\nexport default () => far() + 1",
    }
    const beside = {
      'index.ts': 'export default () => 1', 'index.cjs': 'module.exports = { up: 2 }', 'shared/far.ts': 'export const far = () => 3',
      'node_modules/left/package.json': '{"name":"left","main":"index.js"}', 'node_modules/left/index.js': 'module.exports = (n) => n * 21',
    }
    const inside = (directory: string, all: Record<string, string>): Record<string, string> => Object.fromEntries(Object.entries(all).map(([path, text]) => [`${directory}/${path}`, text]))
    const near = await lay({ ...inside('marten', beside), ...inside('marten/polecat', files) })
    const deep = await lay({ ...inside('stoat/ermine/weasel', beside), ...inside('stoat/ermine/weasel/otter', files) })
    await symlink(join(deep, 'stoat/ermine'), join(deep, 'badger'))
    const outputs = []
    for (const root of [join(near, 'marten/polecat'), join(deep, 'stoat/ermine/weasel/otter'), join(deep, 'badger/weasel/otter')]) {
      const built = await buildFunction({ path: root })
      const [code, map] = [built.files.get('index.mjs')!.bytes.toString(), built.files.get('index.mjs.map')!.bytes.toString()]
      assert.doesNotMatch(code + map, /marten|polecat|stoat|ermine|weasel|otter|badger|skep-build-test|#region|\.\.\//)
      assert.deepEqual((JSON.parse(map) as { sources: string[] }).sources.toSorted(), ['index.cjs', 'index.ts', 'lib/index.ts', 'node_modules/left/index.js', 'outside/far.ts', 'outside/index.cjs', 'outside/index.ts'])
      assert(built.sources.includes(join(await realpath(root), 'index.ts')) && built.sources.includes(join(await realpath(root), '../shared/far.ts')), built.sources.join())
      assert.deepEqual((await load(built)).main!(), [1, 2, 3, 4, 42, 5])
      outputs.push({ code, map, digest: (await packCode(built.files)).digest })
    }
    assert.deepEqual(outputs[1], outputs[0])
    assert.deepEqual(outputs[2], outputs[0])
  })

  test('so has JSON and CommonJS entries by the name of index, and a file that is called as the bundler calls them is still itself', async () => {
    const digests = new Set<string>()
    for (const name of ['grouse', 'ptarmigan']) {
      const files = { 'index.cjs': "exports.main = () => [require('./index.json').n, require('./lib/index$.cjs').n]", 'index.json': '{"n":1}', 'lib/index$.cjs': 'exports.n = 2', 'lib/index.cjs': 'exports.n = 3' }
      const root = join(await lay(Object.fromEntries(Object.entries(files).map(([path, text]) => [`${name}/${path}`, text]))), name)
      const built = await buildFunction({ path: root }, { entry: 'index.cjs' })
      assert.deepEqual((await load(built)).main!(), [1, 2])
      digests.add((await packCode(built.files)).digest)
    }
    assert.equal(digests.size, 1)
  })

  test('so has code from standard input, each time', async () => {
    const digests = new Set<string>()
    for (const text of ['export default { fetch: () => new Response() }', 'module.exports = { main: () => 1 }']) {
      for (let round = 0; round < 2; round++) digests.add((await packCode((await buildFunction({ stdin: Buffer.from(text) }, { kind: 'node' })).files)).digest)
    }
    assert.equal(digests.size, 2)
  })

  test('so has an entry below the root, whose modules above it keep their places', async () => {
    const files = { 'src/index.ts': "import top from '../index.ts'\nexport const main = () => { throw new Error(top()) }", 'index.ts': "export default () => 'top'" }
    const maps = []
    for (const name of ['hare', 'rabbit']) {
      const root = join(await lay(Object.fromEntries(Object.entries(files).map(([path, text]) => [`${name}/${path}`, text]))), name)
      const built = await buildFunction({ path: root }, { entry: 'src/index.ts' })
      maps.push([built.files.get('src/index.mjs')!.bytes.toString(), built.files.get('src/index.mjs.map')!.bytes.toString()])
    }
    assert.deepEqual(maps[1], maps[0])
    assert.deepEqual((JSON.parse(maps[0]![1]!) as { sources: string[] }).sources, ['../index.ts', 'index.ts'])
  })
})
