/**
 * Goal: a command meant for the inside means the same on the host.
 *
 * Method: paths in, paths out. That such a command runs is shown by process-sandbox.test.ts.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hostPath, unsandboxedCommand } from './unsandboxed.ts'

const mounts = [
  { from: '/host/skep', to: '/skep' },
  { from: '/host/special', to: '/skep/special' },
  { from: '/host/app', to: '/app' },
]

test('a path becomes that of the longest mount it lies in, and of the later one of two', () => {
  assert.equal(hostPath('/skep/a.ts', mounts), '/host/skep/a.ts')
  assert.equal(hostPath('/skep', mounts), '/host/skep')
  assert.equal(hostPath('/skep/special/b.ts', mounts), '/host/special/b.ts')
  assert.equal(hostPath('/skep/special', [...mounts, { from: '/late', to: '/skep/special' }]), '/late')
})

test('a path that only begins alike, an option or a word stays as it is', () => {
  for (const text of ['/skepper/a', '/application', '-e', 'app', '--x=/app', '']) assert.equal(hostPath(text, mounts), text)
})

test('a link inside is no place of the host', () => {
  assert.equal(hostPath('/lib/libc.so', [...mounts, { from: '/skep/lib', to: '/lib', isLink: true }]), '/lib/libc.so')
})

test('program, arguments and lists of paths are translated, other values are not', () => {
  const command = unsandboxedCommand(
    {
      id: 'a',
      command: ['/skep/node', '--flag', '/app/main.js'],
      mounts,
      environment: { PATH: '/app/bin:/usr/bin', TEXT: 'see /app/bin', URL: 'http://x/app' },
      limits: { memoryMb: 1, cpu: 1, pidsMax: 1 },
      network: 'none',
      tmpBytesMax: 1,
    },
    '/data/code',
  )
  assert.deepEqual(command, {
    program: '/host/skep/node',
    arguments: ['--flag', '/data/code/main.js'],
    environment: { PATH: '/data/code/bin:/usr/bin', TEXT: 'see /app/bin', URL: 'http://x/app' },
  })
})
