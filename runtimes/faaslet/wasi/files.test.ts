/**
 * Goal: a faaslet's files stay its own, within their bound, and no path leads out of them.
 * Method: the tree and the descriptors alone; generated paths; a folder of the host with links that lead out of it.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { Errno } from './abi.ts'
import { directoryFiles, givenFiles } from './app-files.ts'
import { Descriptors } from './descriptors.ts'
import { holder, NODE_BYTES, resolve, WasiError, type MemoryFile, type Quota } from './files.ts'

class Bound implements Quota {
  used = 0
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  charge(bytes: number): void {
    if (this.used + bytes > this.#max) throw new WasiError(Errno.nospc)
    this.used += bytes
  }
}

const errno = (value: number) => (error: unknown) => error instanceof WasiError && error.errno === value

test('a bound holds for bytes and for entries, and removing gives back (FS1)', () => {
  const bound = new Bound(10_000)
  const { root } = new Descriptors(givenFiles({}), bound)
  const file = root.tmp.createFile('a')
  file.write(0, Buffer.alloc(5000))
  assert.throws(() => file.write(9000, Buffer.alloc(5000)), errno(Errno.nospc))
  assert.equal(file.size, 5000)
  assert.throws(() => { for (let at = 0; ; at++) root.tmp.createDirectory(`d${at}`) }, errno(Errno.nospc))
  for (const name of root.tmp.names()) root.tmp.remove(name)
  assert.equal(bound.used, 0)
  assert.equal(root.tmp.size, 0)
})

test('a file that is removed while it is open keeps its bytes until it is closed', () => {
  const bound = new Bound(100_000)
  const descriptors = new Descriptors(givenFiles({}), bound)
  const file = descriptors.root.tmp.createFile('a')
  const fd = descriptors.add({ kind: 'file', file, canRead: true, canWrite: true, isAppending: false, at: 0 })
  file.write(0, Buffer.from('kept'))
  descriptors.root.tmp.remove('a')
  assert.equal(Buffer.from(file.bytes()).toString(), 'kept')
  assert.ok(bound.used > NODE_BYTES)
  descriptors.close(fd)
  assert.equal(bound.used, 0)
})

test('what a snapshot would miss is said', () => {
  const descriptors = new Descriptors(givenFiles({ 'a.txt': 'x' }), new Bound(100_000))
  assert.equal(descriptors.change, undefined)
  const fd = descriptors.add({ kind: 'directory', trail: [descriptors.root], listing: undefined })
  assert.equal(descriptors.change, 'it left descriptor 4 open')
  descriptors.close(fd)
  assert.equal(descriptors.change, undefined)
  descriptors.root.tmp.createFile('left')
  assert.equal(descriptors.change, 'it left "left" in /tmp')
  descriptors.root.tmp.remove('left')
  descriptors.close(1)
  assert.match(descriptors.change!, /closed one/)
})

test('at most 1024 descriptors are open, and the smallest free number is given (DS2)', () => {
  const descriptors = new Descriptors(givenFiles({}), new Bound(0))
  const open = (): number => descriptors.add({ kind: 'directory', trail: [descriptors.root], listing: undefined })
  assert.throws(() => { for (;;) open() }, errno(Errno.nospc))
  descriptors.close(10)
  assert.equal(open(), 10)
  assert.throws(() => descriptors.get(5000), errno(Errno.badf))
  assert.throws(() => descriptors.get(-1), errno(Errno.badf))
})

test('no path leads out of the tree, whatever it is (fuzz)', () => {
  const { root } = new Descriptors(givenFiles({ 'folder/inner/file': 'x', top: 'y' }), new Bound(100_000))
  const part = fc.constantFrom('..', '.', '', 'folder', 'inner', 'file', 'top', 'tmp', 'app', 'none')
  fc.assert(
    fc.property(fc.oneof(fc.array(part).map((parts) => parts.join('/')), fc.string()), (path) => {
      try {
        const place = resolve([root], path)
        assert.equal(place.trail[0], root)
        const at = holder(place, path)
        if (at !== undefined) assert.equal(at.folder.get(at.name), place.node)
      } catch (error) {
        assert.ok(error instanceof WasiError, String(error))
      }
    }),
    { numRuns: 2000 },
  )
})

test('the host\'s folder is seen without links that lead out of it or around in it', () => {
  const base = mkdtempSync(join(tmpdir(), 'skep-files-'))
  try {
    mkdirSync(join(base, 'app/inner'), { recursive: true })
    writeFileSync(join(base, 'secret'), 'outside')
    writeFileSync(join(base, 'app/file'), 'inside')
    symlinkSync('../secret', join(base, 'app/out'))
    symlinkSync('../..', join(base, 'app/inner/up'))
    symlinkSync('..', join(base, 'app/inner/around'))
    symlinkSync('file', join(base, 'app/link'))
    symlinkSync('nowhere', join(base, 'app/broken'))
    const files = directoryFiles(join(base, 'app'))
    assert.deepEqual([...files.names()].sort(), ['file', 'inner', 'link'])
    const link = files.get('link')
    assert.equal(link?.kind === 'file' ? Buffer.from(link.bytes()).toString() : '', 'inside')
    const inner = files.get('inner')
    assert.deepEqual(inner?.kind === 'directory' ? inner.names() : undefined, [])
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
})

test('a file grows with zeros, shrinks, and is written anywhere', () => {
  const { root } = new Descriptors(givenFiles({}), new Bound(100_000))
  const file: MemoryFile = root.tmp.createFile('a')
  file.write(3, Buffer.from('abc'))
  file.resize(4)
  file.resize(6)
  assert.deepEqual([...file.bytes()], [0, 0, 0, 97, 0, 0])
})
