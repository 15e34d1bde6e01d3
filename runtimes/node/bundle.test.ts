/**
 * Goal: the bundled runtime behaves as its source does, whatever has become of its code cache; and the compile cache of a function
 * can be made and is used.
 * Method: bundle into a temporary directory, damage copies of it, and run all from there.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import type { Script } from 'node:vm'
import { decodeCompileCache } from '../../src/contract/compile-cache.ts'
import type { PlatformError } from '../../src/contract/errors.ts'
import { nodeRuntime, RuntimePeer } from '../../test/kit/runtime-peer.ts'
import { bundleRuntime } from './bundle.ts'

const directory = mkdtempSync(join(tmpdir(), 'skep-bundle-'))
before(async () => assert.deepEqual(await bundleRuntime(directory), []))
after(() => rmSync(directory, { recursive: true, force: true }))

test('the bundle serves invocations, and its own frames are not in stacks', async () => {
  await using peer = new RuntimePeer({ args: [join(directory, 'main.cjs')], files: { 'index.ts': 'export const main = ({ fail }) => {\n  if (fail) throw new Error("x")\n  return { ok: true }\n}' } })
  await peer.hello()
  await peer.init({ entry: 'index.ts' })
  assert.equal((await peer.event({})).text, '{"ok":true}')
  const error = await peer.event({ fail: true }).catch((thrown: PlatformError) => thrown)
  assert.match((error as PlatformError).functionStack!, /^Error: x\n {4}at .*index\.ts:2:19\)?$/)
  await using bridge = new RuntimePeer({ args: [join(directory, 'bridge.cjs'), 'command'], files: { run: '#!/bin/sh\ncat\n' } })
  await bridge.init({ entry: 'run' })
  assert.equal((await bridge.event('x')).text, '"x"')
})

test('the bundle’s starter does not show itself to the user’s code', async () => {
  const source = `module.exports.main = () => ({ main: require.main === undefined, arguments: process.argv.length, flags: process.execArgv })`
  await using peer = new RuntimePeer({ args: [join(directory, 'main.cjs')], files: { 'index.cjs': source } })
  await peer.init({ entry: 'index.cjs' })
  assert.deepEqual(JSON.parse((await peer.event({})).text), { main: true, arguments: 2, flags: [] })
})

test('V8 takes the code caches that were made', () => {
  for (const name of ['main', 'bridge']) assert.equal(loadedFrom(directory, name).cachedDataRejected, false)
})

test('a code cache that is missing, cut, damaged or of another V8 is not used, and the runtime starts', async () => {
  const whole = readFileSync(join(directory, 'main.cache'))
  const half = whole.length / 2
  const flipped = (...places: readonly number[]): Buffer => {
    const bytes = Buffer.from(whole)
    for (const at of places) bytes[at]! ^= 0xff
    return bytes
  }
  // The fifth byte is in the hash of V8's version.
  const broken = { missing: undefined, empty: Buffer.alloc(0), cut: whole.subarray(0, half), odd: whole.subarray(1), damaged: flipped(Math.floor(half / 3)), 'of another V8': flipped(4, half + 4) }
  for (const [how, cache] of Object.entries(broken)) {
    const copy = mkdtempSync(join(directory, 'copy-'))
    for (const name of ['main.cjs', 'main.js']) cpSync(join(directory, name), join(copy, name))
    if (cache !== undefined) writeFileSync(join(copy, 'main.cache'), cache)
    assert.notEqual(loadedFrom(copy, 'main').cachedDataRejected, false, how)
    await using peer = new RuntimePeer({ args: [join(copy, 'main.cjs')], files: { 'index.mjs': 'export const main = () => 1' } })
    await peer.init({ entry: 'index.mjs' })
    assert.equal((await peer.event({})).text, '1', how)
  }
})

test('a compile cache is sent by --make-compile-cache, from source and bundle alike, and is used beside the code', async () => {
  await using peer = new RuntimePeer({ args: [nodeRuntime], files: { 'index.mjs': "import { getCompileCacheDir } from 'node:module'\nexport const main = () => ({ found: getCompileCacheDir() !== undefined })" } })
  for (const runtime of [nodeRuntime, join(directory, 'main.cjs')]) {
    const files = decodeCompileCache(await compiledBy(runtime, peer.directory, 'index.mjs'))
    assert.equal(files.size, 1)
    for (const [path, content] of files) {
      mkdirSync(dirname(join(peer.directory, '.compile-cache', path)), { recursive: true })
      writeFileSync(join(peer.directory, '.compile-cache', path), content)
    }
  }
  await peer.hello()
  await peer.init({ entry: 'index.mjs' })
  assert.equal((await peer.event({})).text, '{"found":true}')
})

test('code that is missing or broken sends a message without files', async () => {
  await using peer = new RuntimePeer({ args: [nodeRuntime], files: { 'broken.mjs': 'export const main = (' } })
  for (const entry of ['broken.mjs', 'missing.mjs']) assert.equal(decodeCompileCache(await compiledBy(nodeRuntime, peer.directory, entry)).size, 0)
})

/** The bundle as a script that has not run. */
function loadedFrom(place: string, name: string): Script {
  const starter = createRequire(import.meta.url)(join(place, `${name}.cjs`)) as { readonly load: () => Script }
  return starter.load()
}

async function compiledBy(runtime: string, root: string, entry: string): Promise<Buffer> {
  const made = spawn(process.execPath, [runtime, '--make-compile-cache', entry, mkdtempSync(join(directory, 'cache-'))], { env: { SKEP_APP_DIR: root }, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const channel = made.stdio[3] as Duplex
  channel.write(Buffer.of(1))
  const [message, [code]] = await Promise.all([buffer(channel), once(made, 'exit')])
  assert.equal(code, 0)
  return message
}
