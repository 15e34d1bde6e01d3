/**
 * Goal: the bundled runtime behaves as its source does, and the compile cache of a function can be made and is used.
 * Method: bundle into a temporary directory and run both from there.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { decodeCompileCache } from '../../src/contract/compile-cache.ts'
import type { PlatformError } from '../../src/contract/errors.ts'
import { nodeRuntime, RuntimePeer } from '../../test/kit/runtime-peer.ts'
import { bundleRuntime } from './bundle.ts'

const directory = mkdtempSync(join(tmpdir(), 'skep-bundle-'))
after(() => rmSync(directory, { recursive: true, force: true }))

test('the bundle serves invocations, and its own frames are not in stacks', async () => {
  await bundleRuntime(directory)
  await using peer = new RuntimePeer({ args: [join(directory, 'main.js')], files: { 'index.ts': 'export const main = ({ fail }) => {\n  if (fail) throw new Error("x")\n  return { ok: true }\n}' } })
  await peer.hello()
  await peer.init({ entry: 'index.ts' })
  assert.equal((await peer.event({})).text, '{"ok":true}')
  const error = await peer.event({ fail: true }).catch((thrown: PlatformError) => thrown)
  assert.match((error as PlatformError).functionStack!, /^Error: x\n {4}at .*index\.ts:2:19\)?$/)
  await using bridge = new RuntimePeer({ args: [join(directory, 'bridge.js'), 'command'], files: { run: '#!/bin/sh\ncat\n' } })
  await bridge.init({ entry: 'run' })
  assert.equal((await bridge.event('x')).text, '"x"')
})

test('a compile cache is sent by --make-compile-cache, from source and bundle alike, and is used beside the code', async () => {
  await bundleRuntime(directory)
  await using peer = new RuntimePeer({ args: [nodeRuntime], files: { 'index.mjs': "import { getCompileCacheDir } from 'node:module'\nexport const main = () => ({ found: getCompileCacheDir() !== undefined })" } })
  for (const runtime of [nodeRuntime, join(directory, 'main.js')]) {
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

async function compiledBy(runtime: string, root: string, entry: string): Promise<Buffer> {
  const made = spawn(process.execPath, [runtime, '--make-compile-cache', entry, mkdtempSync(join(directory, 'cache-'))], { env: { SKEP_APP_DIR: root }, stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const channel = made.stdio[3] as Duplex
  channel.write(Buffer.of(1))
  const [message, [code]] = await Promise.all([buffer(channel), once(made, 'exit')])
  assert.equal(code, 0)
  return message
}
