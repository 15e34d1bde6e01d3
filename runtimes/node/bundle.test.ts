/**
 * Goal: the bundled runtime behaves as its source does, and the compile cache of a function can be made and is used.
 * Method: bundle into a temporary directory and run both from there.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
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

test('a compile cache beside the code is made by --make-compile-cache and does no harm', async () => {
  await using peer = new RuntimePeer({ args: [nodeRuntime], files: { 'index.mjs': 'export const main = () => ({ ok: true })' } })
  const made = spawnSync(process.execPath, [nodeRuntime, '--make-compile-cache', 'index.mjs', join(peer.directory, '.compile-cache')], { env: { SKEP_APP_DIR: peer.directory } })
  assert.equal(made.status, 0, made.stderr.toString())
  assert.equal(readdirSync(join(peer.directory, '.compile-cache')).length, 1)
  await peer.hello()
  await peer.init({ entry: 'index.mjs' })
  assert.equal((await peer.event({})).text, '{"ok":true}')
})
