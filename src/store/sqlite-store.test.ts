/**
 * Goal: the embedded store keeps the promises of Store, and does the right thing with locked, newer, damaged and full data.
 *
 * Method: the conformance suite on temporary directories. A holder of the lock is a real process that is really killed; a
 * full disk is a small tmpfs where this user may mount one, and always a size limit; damage is done to the file.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { ManualClock } from '#base/clock.ts'
import { mountSmallDisk } from './small-disk.ts'
import { migrate, migrations } from './sqlite-schema.ts'
import { openSqliteStore } from './sqlite-store.ts'
import { runStoreConformance } from './store.conformance.ts'
import { until } from './store.harness.ts'
import type { Store } from './store.ts'

const fixture = new URL('./sqlite-store.fixture.ts', import.meta.url).href

runStoreConformance({
  name: 'SqliteStore',
  async open() {
    const directory = mkdtempSync(join(tmpdir(), 'skep-store-'))
    const path = join(directory, 'data', 'skep.db')
    let store = await openSqliteStore({ path })
    return {
      store,
      async reopen() {
        await store.close()
        store = await openSqliteStore({ path })
        return store
      },
      child: { module: fixture, argument: path },
      async destroy() {
        await store.close()
        rmSync(directory, { recursive: true })
      },
    }
  },
})

/** A path in a directory that goes with the test. */
function inDirectory(body: (path: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'skep-store-'))
    try {
      await body(join(directory, 'skep.db'))
    } finally {
      rmSync(directory, { recursive: true })
    }
  }
}

describe('the data of SqliteStore', () => {
  test('is locked by its holder, and refuses a second one in the same process with its pid (L1)', inDirectory(async (path) => {
    const holder = await openSqliteStore({ path })
    await assert.rejects(openSqliteStore({ path }), { code: 'DATA_LOCKED', message: new RegExp(`process ${process.pid}`), details: { path, pid: process.pid } })
    await holder.put('c', 'still', 'works')
    await holder.close()
    await (await openSqliteStore({ path })).close()
  }))

  test('is free at once when its holder is killed (L2)', inDirectory(async (path) => {
    const program = fileURLToPath(new URL('./store.conformance.child.ts', import.meta.url))
    const holder = spawn(process.execPath, [program, fixture, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    holder.stdout.resume()
    await assert.rejects(openSqliteStore({ path }), { code: 'DATA_LOCKED', details: { path, pid: holder.pid } })
    const ended = once(holder, 'exit')
    holder.kill('SIGKILL')
    await ended
    await (await openSqliteStore({ path })).close()
  }))

  test('of a newer version is refused and left alone (S2)', inDirectory(async (path) => {
    await (await openSqliteStore({ path })).close()
    const database = new DatabaseSync(path)
    database.exec("UPDATE meta SET value = 99 WHERE key = 'schema'")
    database.close()
    await assert.rejects(openSqliteStore({ path }), { code: 'DATA_VERSION_NEWER', message: new RegExp(`version 99, .* version ${migrations.length}\\.`) })
  }))

  test('of an older version is migrated step by step, and resumes after a step that failed (S1)', () => {
    const database = new DatabaseSync(':memory:')
    migrate(database, 'memory')
    const add = (name: string) => (to: DatabaseSync) => to.exec(`CREATE TABLE ${name} (x)`)
    const broken = (to: DatabaseSync): void => {
      add('half')(to)
      throw new Error('power loss')
    }
    assert.throws(() => migrate(database, 'memory', [...migrations, add('second'), broken]), /power loss/)
    assert.equal(migrate(database, 'memory', [...migrations, add('second'), add('half')]), migrations.length + 1)
    assert.equal(migrate(database, 'memory', [...migrations, add('second'), add('half')]), migrations.length + 2)
    database.exec('INSERT INTO second VALUES (1); INSERT INTO half VALUES (1)')
    database.close()
  })

  test('that is damaged is reported with its path and what to do', inDirectory(async (path) => {
    writeFileSync(path, 'this is no database'.repeat(1000))
    const expected = { code: 'STORE_FAILED', message: new RegExp(`${path} is damaged .*Put back a copy`) }
    await assert.rejects(openSqliteStore({ path }), expected)
    rmSync(path)
    const store = await openSqliteStore({ path })
    for (let index = 0; index < 300; index++) void store.put('c', `key-${index}`, 'x'.repeat(1000))
    await store.put('c', 'last', 1)
    await store.close()
    // Everything behind the first two pages, which hold the schema.
    const file = openSync(path, 'r+')
    const bytes = statSync(path).size - 8192
    writeSync(file, Buffer.alloc(bytes, 0xa5), 0, bytes, 8192)
    closeSync(file)
    await assert.rejects(
      async () => {
        const again = await openSqliteStore({ path })
        try {
          await again.list('c')
        } finally {
          await again.close()
        }
      },
      expected,
    )
  }))

  test('claims by index, however long the queue', () => {
    const database = new DatabaseSync(':memory:')
    migrate(database, 'memory')
    const plan = database.prepare('EXPLAIN QUERY PLAN SELECT number FROM queue_items WHERE queue = 1 AND ready_ms <= 5 ORDER BY ready_ms LIMIT 9').all()
    assert.match(String(plan[0]!['detail']), /SEARCH .* USING .*INDEX queue_items_by_ready \(queue=\? AND ready_ms<\?\)/)
    assert.equal(plan.length, 1)
    database.close()
  })
})

describe('a full disk', () => {
  test('refuses a batch whole, leaves its neighbours alone, and takes writes again when there is room', inDirectory(async (path) => {
    const store = await openSqliteStore({ path, sizeMaxBytes: 400 * 1024 })
    await fillAndRecover(store, async () => {
      assert((await store.trim('filler', Infinity)) > 0)
    })
    await store.close()
  }))

  test('of the operating system does too', async (context) => {
    const disk = mountSmallDisk(600 * 1024)
    if (disk === undefined) return context.skip('this user may not mount a small disk')
    try {
      const filler = join(disk.path, 'filler')
      writeFileSync(filler, Buffer.alloc(200 * 1024))
      const store = await openSqliteStore({ path: join(disk.path, 'skep.db') })
      await fillAndRecover(store, async () => rmSync(filler))
      await store.close()
      const again = await openSqliteStore({ path: join(disk.path, 'skep.db') })
      assert.notEqual(await again.find('q', 'after'), undefined)
      await again.close()
    } finally {
      disk.unmount()
    }
  })

  test('keeps journal rows for the next try, and drops the oldest beyond the bound', inDirectory(async (path) => {
    const dropped: number[] = []
    const store = await openSqliteStore({
      path, sizeMaxBytes: 100 * 1024, bufferCharsMax: 600_000, onRowsDropped: (_journal, rows) => dropped.push(rows), clock: new ManualClock(),
    })
    const rows = Array.from({ length: 200 }, (_, index) => ({ atMs: index, row: `"${noise(index, 1000)}"` }))
    store.append('j', rows)
    await assert.rejects(store.flush(), { code: 'STORE_FULL' })
    assert.equal((await Array.fromAsync(store.read('j', { order: 'oldest-first' }))).length, 200)
    for (let index = 0; index < 10; index++) store.append('j', rows)
    assert(dropped.length > 0)
    await assert.rejects(store.close(), { code: 'STORE_FULL' })
  }))
})

describe('SqliteStore', () => {
  test('remembers completed ids for their time and up to their number (Q3)', inDirectory(async (path) => {
    const clock = new ManualClock()
    const store = await openSqliteStore({ path, clock, rememberMs: 1000, rememberMax: 10 })
    const pass = async (id: string): Promise<boolean> => {
      await store.enqueue('q', [{ id, payload: '1', dueAtMs: 0 }])
      const claimed = await store.claim('q', { limit: 1, leaseMs: 1, nowMs: clock.epochMs() })
      await store.complete('q', claimed.map((item) => item.id))
      return claimed.length === 1
    }
    assert.deepEqual([await pass('a'), await pass('a')], [true, false])
    clock.advance(1001)
    assert.deepEqual([await pass('b'), await pass('a')], [true, true])
    for (let index = 0; index < 12; index++) assert(await pass(`c${index}`))
    assert.deepEqual([await pass('c11'), await pass('a')], [false, true])
    await store.close()
  }))

  test('writes appended rows after flushMs by itself (T4)', inDirectory(async (path) => {
    const clock = new ManualClock()
    const store = await openSqliteStore({ path, clock, flushMs: 200 })
    const reader = new DatabaseSync(path, { readOnly: true })
    const stored = (): boolean => reader.prepare('SELECT 1 FROM journal_batches').all().length > 0
    store.append('j', [{ atMs: 1, row: '1' }])
    clock.advance(199)
    await store.put('c', 'after', 1)
    assert.equal(stored(), false)
    clock.advance(1)
    await until(stored)
    reader.close()
    await store.close()
  }))

  test('gives rows of the same time in the order of appending, newest first reversed (R1)', inDirectory(async (path) => {
    const store = await openSqliteStore({ path })
    for (let index = 0; index < 9; index++) {
      store.append('j', [{ atMs: 5, row: `${index}` }])
      if (index % 3 === 1) await store.flush()
    }
    const read = async (order: 'newest-first' | 'oldest-first'): Promise<string> =>
      (await Array.fromAsync(store.read('j', { order }))).map((row) => row.row).join('')
    assert.deepEqual([await read('oldest-first'), await read('newest-first')], ['012345678', '876543210'])
    await store.close()
  }))
})

/** Fills the store, sees that a large batch has no effect and a small neighbour is safe, makes room and writes again. */
async function fillAndRecover(store: Store, makeRoom: () => Promise<void>): Promise<void> {
  const batch = (name: string, count: number): { id: string; payload: string; dueAtMs: number }[] =>
    Array.from({ length: count }, (_, index) => ({ id: `${name}-${index}`, payload: `"${'x'.repeat(10_000)}"`, dueAtMs: 0 }))
  await store.enqueue('q', [{ id: 'before', payload: '1', dueAtMs: 0 }])
  store.append('filler', Array.from({ length: 100 }, (_, index) => ({ atMs: index, row: noise(index, 1000) })))
  await store.flush()

  const large = store.enqueue('q', batch('large', 100))
  const small = store.enqueue('q', [{ id: 'small', payload: '1', dueAtMs: 0 }])
  await assert.rejects(large, { code: 'STORE_FULL', message: /nothing was written\. Free disk space/ })
  await small
  assert.deepEqual(await store.depth('q'), { waiting: 2, claimed: 0, dead: 0 })
  assert.equal(await store.find('q', 'large-0'), undefined)

  let accepted = 0
  await assert.rejects(async () => {
    for (; ; accepted++) await store.enqueue('q', batch(`one-${accepted}`, 1))
  }, { code: 'STORE_FULL' })
  assert.equal((await store.depth('q')).waiting, 2 + accepted)
  await makeRoom()
  await store.enqueue('q', [...batch('room', 3), { id: 'after', payload: '1', dueAtMs: 0 }])
  assert.equal((await store.depth('q')).waiting, 2 + accepted + 4)
}

/** Text that does not compress well, the same each time. */
function noise(seed: number, length: number): string {
  let state = seed + 1
  let text = ''
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    text += state.toString(36)
  }
  return text.slice(0, length)
}
