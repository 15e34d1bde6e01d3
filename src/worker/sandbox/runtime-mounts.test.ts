/**
 * Goal: a runtime is given what it needs of the host and not more. That programs run with it is shown by process-sandbox.test.ts.
 *
 * Method: parsing on texts, and on noise; finding on this host's own Node and Python.
 */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { hostNetworkMounts, nodeRuntimeMounts, notShownBy, parseLdd, pythonRuntime, systemMounts } from './runtime-mounts.ts'

test('reads the paths that ldd names, each once', () => {
  const output = [
    '/usr/bin/one:',
    '\tlinux-vdso.so.1 (0x00007ffd1b9f2000)',
    '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f0d7e8d4000)',
    '\tlibgone.so.1 => not found',
    '\t/lib64/ld-linux-x86-64.so.2 (0x00007f0d7e9d6000)',
    '/usr/bin/two:',
    '\tstatically linked',
    '\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f9000000000)',
    '\tlibx.so => /opt/with space/libx.so (0x00007f9000000000)',
  ].join('\n')
  assert.deepEqual(parseLdd(output), ['/lib/x86_64-linux-gnu/libm.so.6', '/lib64/ld-linux-x86-64.so.2', '/opt/with space/libx.so'])
})

test('reads nothing but absolute paths out of anything', () => {
  fc.assert(fc.property(fc.string(), (text) => parseLdd(text).every((path) => path.startsWith('/'))))
})

test('gives Node itself and its libraries, found once', { skip: process.platform === 'linux' ? false : 'Linux only' }, async () => {
  const mounts = await nodeRuntimeMounts(process.execPath)
  assert.deepEqual(mounts[0], { from: process.execPath, to: process.execPath })
  assert(mounts.some((mount) => /\/libc\.so|ld-musl/.test(mount.to)))
  assert(mounts.every((mount) => existsSync(mount.from)))
  assert.equal(await nodeRuntimeMounts(process.execPath), mounts)
})

test('says so when a program can’t be looked into', async () => {
  await assert.rejects(nodeRuntimeMounts('/absent/node'), { name: 'PlatformError', code: 'RUNTIME_MISSING', message: /\/absent\/node/ })
})

test('finds Python itself behind shims, or says how to get it', async () => {
  try {
    const python = await pythonRuntime()
    assert.match(python.command, /^\/.*python3/)
    assert.doesNotMatch(python.command, /shims/)
    assert.match(python.version, /^3\.\d+\.\d+$/)
    assert(python.mounts.some((mount) => mount.to === python.command))
  } catch (thrown) {
    assert.match(String(thrown), /\.\/skep setup/)
  }
})

test('leaves out what a mounted directory shows anyway, and nothing else', () => {
  const same = (path: string) => ({ from: path, to: path })
  const system = [same('/usr'), same('/lib64'), same('/etc/ld.so.cache'), { from: '/opt/real', to: '/opt/shown' }]
  const kept = [
    same('/srv/node'),
    same('/lib64x/libc.so.6'),
    // At this place the directory shows another file than the one that is wanted.
    { from: '/elsewhere/libc.so.6', to: '/usr/lib/libc.so.6' },
    { from: '/opt/shown/tool', to: '/opt/shown/tool' },
  ]
  const left = [same('/usr/bin/node'), same('/lib64/ld-linux-x86-64.so.2'), same('/etc/ld.so.cache'), { from: '/opt/real/tool', to: '/opt/shown/tool' }]
  assert.deepEqual(notShownBy([...left, ...kept], system), kept)
  assert.deepEqual(notShownBy(kept, [same('/')]), [{ from: '/elsewhere/libc.so.6', to: '/usr/lib/libc.so.6' }])
  assert.deepEqual(notShownBy(left, []), left)
})

test('gives programs no file of the host that holds a secret or names a path that is not there', () => {
  for (const { from } of [...systemMounts(), ...hostNetworkMounts()]) {
    assert(existsSync(from))
    assert.doesNotMatch(from, /shadow|^\/etc$|^\/(home|root|var|run|proc|sys|dev)/)
  }
})
