/**
 * Goal: a runtime's files are prepared once per version, are complete, and come into a sandbox with few mounts.
 *
 * Method: the real preparation for this host's Node, into a temporary directory. That sandboxes run with it is shown by
 * worker-start.test.ts.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { nativeFile } from '#pager/native-file.ts'
import { mayRun, nodeRuntimeFiles } from './runtime-files.ts'
import { Runtimes } from './runtimes.ts'
import type { SandboxMount } from './sandbox/sandbox.ts'

const skip = process.platform === 'linux' ? false : 'Linux only'
const directory = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
after(() => rmSync(directory, { recursive: true, force: true }))

const newRuntimes = (): Runtimes =>
  new Runtimes({
    directory,
    warn: (message, error) => {
      throw new Error(message, { cause: error })
    },
  })

/** The file of the host that a path inside is. */
function behind(path: string, mounts: readonly SandboxMount[]): string {
  const mount = mounts.find(({ to }) => path === to || path.startsWith(`${to}/`))
  if (mount === undefined) return path
  return mount.isLink === true ? behind(mount.from, mounts) : mount.from + path.slice(mount.to.length)
}

test('Node comes with two mounts; its libraries and the SDK are links to copies that are the host’s', { skip }, async () => {
  const { command, mounts } = await newRuntimes().get('node')
  const links = mounts.filter(({ isLink }) => isLink === true)
  assert.deepEqual(mounts.filter(({ isLink }) => isLink !== true).map(({ to }) => to), [process.execPath, '/skep/runtime'])
  assert(links.some(({ to }) => /\/libc\.so|ld-musl/.test(to)))
  for (const { to } of links) {
    const file = behind(to, mounts)
    if (to === '/node_modules/skep') assert(existsSync(join(file, 'index.js')))
    else assert(readFileSync(file).equals(readFileSync(to)), to)
  }
  assert(existsSync(behind(command.find((part) => part.startsWith('/skep/'))!, mounts)))
})

test('V8 takes the code cache with the flags that Node is started with', { skip }, async () => {
  const { command, mounts } = await newRuntimes().get('node')
  const [node, ...rest] = command
  const question = `require(${JSON.stringify(behind(rest.at(-1)!, mounts))}).load().cachedDataRejected`
  assert.equal(execFileSync(node!, [...rest.slice(0, -1), '-p', question], { encoding: 'utf8' }), 'false\n')
})

test('programs that may need the whole system get their libraries from it', { skip }, async () => {
  const { mounts } = await newRuntimes().get('command')
  assert(mounts.some(({ to, isLink }) => to === '/usr' && isLink !== true))
  assert.deepEqual(mounts.filter(({ isLink }) => isLink === true).map(({ to }) => to), ['/node_modules/skep'])
})

test('what is prepared is used again, until a library is another one (F1)', { skip }, async () => {
  const library = join(directory, 'libx.so')
  writeFileSync(library, 'one')
  const first = await nodeRuntimeFiles(directory, [library])
  const before = statSync(join(first, 'main.cjs')).mtimeMs
  assert.equal(await nodeRuntimeFiles(directory, [library]), first)
  assert.equal(statSync(join(first, 'main.cjs')).mtimeMs, before)
  writeFileSync(library, 'another')
  const second = await nodeRuntimeFiles(directory, [library])
  assert.notEqual(second, first)
  assert.equal(readFileSync(join(second, 'host', library), 'utf8'), 'another')
  for (const files of [first, second]) assert.deepEqual(readdirSync(files).toSorted(), ['bridge.cache', 'bridge.cjs', 'bridge.js', 'host', 'main.cache', 'main.cjs', 'main.js', 'sdk', ...(existsSync(nativeFile()) ? ['skep.node'] : [])])
  assert.deepEqual(readdirSync(directory).filter((name) => name.endsWith('.new')), [])
})

test('copies from which nothing may be run are not used: the host’s libraries are mounted', { skip }, async () => {
  const runtimes = newRuntimes()
  const { mounts } = await runtimes.get('node')
  const copies = mounts.filter(({ isLink, to }) => isLink === true && to !== '/node_modules/skep').map(({ to }) => behind(to, mounts))
  for (const copy of copies) assert(await mayRun(copy))
  // As on a file system that is mounted noexec.
  for (const copy of copies) chmodSync(copy, 0o644)
  const again = await newRuntimes().get('node')
  for (const copy of copies) chmodSync(copy, 0o755)
  assert.deepEqual(again.mounts.filter(({ isLink }) => isLink === true).map(({ to }) => to), ['/node_modules/skep'])
  assert(again.mounts.some(({ from, to }) => from === to && /\/libc\.so|ld-musl/.test(to)))
})
