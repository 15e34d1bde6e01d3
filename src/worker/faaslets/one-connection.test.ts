/**
 * Goal: one connection is accepted, or the reason why none came is told, and the socket is gone in any case.
 * Method: real sockets in a temporary directory, and a manual clock for the one who never comes.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { ManualClock } from '#base/clock.ts'
import { acceptOne } from './one-connection.ts'
import type { AcceptOptions } from './one-connection.ts'

function ground() {
  const directory = mkdtempSync(join(tmpdir(), 'skep-accept-'))
  const clock = new ManualClock()
  const options = (over: Partial<AcceptOptions>): AcceptOptions => ({ clock, timeoutMs: 5000, gone: new Promise(() => {}), listening: () => {}, ...over })
  return { directory, clock, options, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) }
}

describe('one connection', () => {
  test('carries bytes both ways, and a second one is refused', async () => {
    using g = ground()
    const path = join(g.directory, 'a.sock')
    const accepted = acceptOne(g.directory, 'a.sock', g.options({ listening: (name) => void connect(join(g.directory, name)).end('from inside') }))
    const socket = await accepted
    assert.equal(String((await once(socket, 'data'))[0]), 'from inside')
    assert.equal(existsSync(path), false)
    const second = connect(path)
    await once(second, 'error')
    socket.destroy()
  })

  test('a directory deeper than a socket\'s path may be does not matter', async () => {
    using g = ground()
    const deep = join(g.directory, 'd'.repeat(120))
    mkdirSync(deep)
    const near = mkdtempSync(join(g.directory, 'n-'))
    const socket = await acceptOne(deep, 'a.sock', g.options({
      listening: (name) => {
        // As the inside sees it: by a short path.
        assert.deepEqual(readdirSync(deep), [name])
        process.chdir(deep)
        connect(name).end('x')
        process.chdir(near)
      },
    }))
    assert.equal(String((await once(socket, 'data'))[0]), 'x')
    socket.destroy()
    assert.deepEqual(readdirSync(deep), [])
    process.chdir(tmpdir())
  })

  test('nobody within the time is START_FAILED, and leaves nothing', async () => {
    using g = ground()
    const accepted = acceptOne(g.directory, 'a.sock', g.options({ listening: () => g.clock.advance(5000) }))
    await assert.rejects(accepted, { code: 'START_FAILED', message: /longer than 5000 ms/ })
    assert.deepEqual(readdirSync(g.directory), [])
  })

  test('the end of the one who would connect is START_FAILED at once', async () => {
    using g = ground()
    const gone = Promise.withResolvers<void>()
    const accepted = acceptOne(g.directory, 'a.sock', g.options({ gone: gone.promise, listening: () => gone.resolve() }))
    await assert.rejects(accepted, { code: 'START_FAILED', message: /has ended/ })
    assert.deepEqual(readdirSync(g.directory), [])
  })

  test('a place where no socket can be made is told', async () => {
    using g = ground()
    await assert.rejects(acceptOne(join(g.directory, 'absent'), 'a.sock', g.options({})))
    await assert.rejects(acceptOne(join(g.directory, 'a'.repeat(120)), 'a.sock', g.options({})))
  })
})
