/**
 * Goal: a machine without a compiler, or with one that fails, gets an error that says what to do; with one, builders at once build once.
 *
 * Method: the real build into its real place with compilers that are missing or fail; where the addon is there already, the build does
 * nothing, and that is what is tested.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { nativeFile } from '#pager/native-file.ts'
import { buildNative, compileNative } from './build-native.ts'

test('without a compiler the error names the command that installs one', async () => {
  await assert.rejects(compileNative(['no-such-compiler'], '/nowhere/x.node'), { code: 'NATIVE_MISSING', message: /no-such-compiler.*sudo apt-get install -y g\+\+/ })
})

test('a compiler that fails is told with its exit code', async () => {
  await assert.rejects(compileNative(['no-such-compiler', 'false'], '/nowhere/x.node'), { code: 'NATIVE_MISSING', message: /^false could not build .*exit code 1/ })
})

test('an addon that is there is not built again, also when many ask at once', { skip: existsSync(nativeFile()) ? false : 'the addon is not built: node scripts/build-native.ts' }, async () => {
  const built = await Promise.all([buildNative(), buildNative(), buildNative()])
  assert.deepEqual(built, Array(3).fill({ path: nativeFile(), tookMs: 0 }))
})
