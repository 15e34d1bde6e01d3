/**
 * Goal: large data comes and goes as memory that nobody can change any more, or in frames where that cannot be; the function sees no difference.
 *
 * Method: the test is a platform that keeps objects and echoes; it accepts sealed memory alone (peer-memory.ts). Whether something was
 * copied is told by the inode of the memory in which it lies.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { fstatSync } from 'node:fs'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { CREDIT_BYTES, PASSED_AHEAD_MAX } from '#contract/frames.ts'
import { needsPython, needsPythonAndMemory, startFunction, startStemCell } from './start-python.ts'
import type { PythonOptions } from './start-python.ts'
import type { PeerCall } from './peer-call.ts'

interface Kept {
  readonly calls: PeerCall[]
  /** Inodes of what was put or sent as memory. */
  readonly inodes: number[]
}

/** A platform that keeps objects, `echo`es what it is sent, and tells the `size` of bytes. */
async function start(options: PythonOptions = {}, entry = 'objects.py') {
  const kept: Kept = { calls: [], inodes: [] }
  const objects = new Map<string, PeerCall>()
  const give = async (call: PeerCall, from: PeerCall): Promise<void> => {
    if (from.fd !== undefined) call.replyMemory(from.fd)
    else call.replyBytes(await from.payload, 'application/octet-stream')
  }
  const onCall = async (call: PeerCall): Promise<void> => {
    kept.calls.push(call)
    if (call.fd !== undefined) kept.inodes.push(fstatSync(call.fd).ino)
    const { k, f, r = '', b } = call.head
    if (k === 'get') {
      const object = objects.get(r)
      return object === undefined ? call.fail(new PlatformError('OBJECT_EXPIRED', `${r} is over.`)) : give(call, object)
    }
    const payload = await call.payload
    if (k === 'put') {
      const reference = `ref-${call.id}`
      objects.set(reference, call)
      call.reply({ reference }, 201)
    } else if (f === 'size') {
      if (b === true) call.reply(payload.length)
      else call.fail(new PlatformError('INPUT_INVALID', 'No bytes.'))
    } else if (b === true) await give(call, call)
    else if (call.fd !== undefined) call.replyMemory(call.fd, 'application/json')
    else call.replyBytes(payload, 'application/json')
  }
  const peer = await startFunction(entry, { memory: true, onCall: (call) => void onCall(call), ...options })
  return Object.assign(peer, { kept, objects })
}

/** As the fixture makes it. */
function pattern(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  for (let at = 0; at < size; at++) bytes[at] = at % 251
  return bytes
}
const sha = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const SIZES = [0, 1, 65_535, 65_536, 65_537, 10_000_000]

describe('hello', needsPythonAndMemory, () => {
  test('says whether memory can be passed', async () => {
    await using able = startStemCell({ memory: true })
    assert.equal((await able.hello).memory, true)
    await using unable = startStemCell()
    assert.equal((await unable.hello).memory, undefined)
  })
})

for (const memory of [true, false]) {
  describe(memory ? 'an object that goes as memory' : 'an object that goes in frames', memory ? needsPythonAndMemory : needsPython, () => {
    for (const kind of ['bytes', 'bytearray', 'allocated', 'text', 'numbers']) {
      test(`is got as it was put, of any size, from ${kind}, and may be written to`, async () => {
        await using peer = await start({ memory })
        for (const size of SIZES.map((size) => (kind === 'numbers' ? size - (size % 8) : size))) {
          const bytes = kind === 'text' ? Buffer.from(pattern(size).toString('latin1')) : pattern(size)
          const got = (await peer.event({ what: 'round', kind, size })).json
          assert.deepEqual(got, { type: 'memoryview', size: bytes.length, sha: sha(bytes), writable: true }, `${size} bytes`)
        }
        const large = peer.kept.calls.filter((call) => call.head.k === 'put' && call.fd !== undefined)
        assert.ok(memory ? large.length >= 1 : large.length === 0)
        assert.ok(peer.kept.calls.every((call) => call.head.k === 'get' || call.head.o?.n === 1))
      })
    }

    test('does not see what is written after put, nor what its receivers write (O1, O2)', async () => {
      await using peer = await start({ memory })
      const size = 200_000
      const late = pattern(size).fill('late', 0, 4)
      for (const kind of ['bytearray', 'allocated']) {
        assert.deepEqual((await peer.event({ what: 'write-after', kind, size })).json, { kept: true, value: 'late', first: 'mine', again: sha(late) })
      }
    })
  })
}

describe('allocated memory', needsPythonAndMemory, () => {
  const size = 1_000_000

  test('is given on without a copy, by put and invoke, also as an array over it, and is mapped where it is got', async () => {
    await using peer = await start()
    for (const how of ['put', 'invoke']) {
      for (const array of [false, true]) {
        const seen = (await peer.event({ what: 'zero-copy', how, array, size })).json as Record<'before' | 'after' | 'got', { inode: number; mode: string }> & { same: boolean }
        const inode = peer.kept.inodes.pop()!
        assert.deepEqual(seen, { before: { inode, mode: 'rw-s' }, after: { inode, mode: 'rw-p' }, got: { inode, mode: 'rw-p' }, same: true })
      }
    }
  })

  test('is given on without a copy as an answer', async () => {
    await using peer = await start()
    const answer = await peer.event({ what: 'zero-copy', how: 'return', size })
    assert.equal(answer.inode, Number(peer.logs[0]!.text))
    assert.ok(answer.body.equals(pattern(size)))
  })

  test('that somebody can still write to is copied (M1)', async () => {
    await using peer = await start()
    const seen = (await peer.event({ what: 'mapped', size })).json as { before: number; same: boolean }
    assert.equal(seen.same, true)
    assert.notEqual(peer.kept.inodes[0], seen.before)
  })

  test('is seen by a forked child, which cannot write to it (M3)', async () => {
    await using peer = await start()
    assert.deepEqual((await peer.event({ what: 'forked', size })).json, { child: 'True 0', seen: true })
  })

  test('is at most half of the instance, and plain bytes are copied up to a quarter of it', async () => {
    await using peer = await start({ memoryMb: 1 })
    const errors = (await peer.event({ what: 'arguments', size: 524_289 })).json as { code: string; message: string }[]
    assert.deepEqual(errors.at(-1)!.code, 'INPUT_INVALID')
    assert.match(errors.at(-1)!.message, /^524289 bytes .* 1 MB, .* 524288 bytes, .* iterator of chunks, .*--memory/)
    for (const [bytes, asMemory] of [[262_144, true], [262_145, false]] as const) {
      await peer.event({ what: 'round', size: bytes })
      assert.equal(peer.kept.calls.at(-2)!.fd !== undefined, asMemory, `${bytes} bytes`)
    }
  })
})

describe('an object in pieces', needsPython, () => {
  test('is sent as it is made, no faster than it is taken', async () => {
    let put: PeerCall | undefined
    await using peer = await startFunction('objects.py', { onCall: (call) => { (put = call).holdsCredit = true } })
    const stream = peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'produce', count: 20, size: 50_000 }) })
    await peer.until(() => put?.dataBytes === CREDIT_BYTES)
    await peer.event({ what: 'held' })
    assert.equal(put!.dataBytes, CREDIT_BYTES)
    assert.equal(peer.logs.length, 6, 'what has been produced')
    assert.deepEqual(put!.head.o, { n: 1, t: 2000 })
    put!.giveCredit(10_000_000)
    assert.equal((await put!.payload).length, 1_000_000)
    put!.reply({ reference: 'made' }, 201)
    assert.equal((await stream.answer).text, '"made"')
  })

  test('may be a file', async () => {
    await using peer = await start({ memory: false })
    const [reference, digest] = (await peer.event({ what: 'file' })).json as [string, string]
    assert.equal(sha(await peer.objects.get(reference)!.payload), digest)
  })

  test('whose source fails is let go, and the error is the source\'s', async () => {
    await using peer = await start({ memory: false })
    await assert.rejects(peer.event({ what: 'produce', count: 3, size: 10, fails: 2 }), /LookupError: the source is dry/)
    assert.equal(peer.kept.calls[0]!.wasReset, true)
  })

  test('ends with the platform\'s error, as soon as that comes', async () => {
    await using peer = await startFunction('objects.py', { onCall: (call) => call.fail(new PlatformError('OBJECT_QUOTA_EXCEEDED', 'It is full.')) })
    assert.deepEqual((await peer.event({ what: 'produce', count: 1_000_000, size: 50_000 })).json, { code: 'OBJECT_QUOTA_EXCEEDED', message: 'It is full.' })
  })
})

describe('an object as a stream', needsPython, () => {
  const bytes = pattern(2_000_000)

  for (const entry of ['objects.py', 'async_objects.py']) {
    test(`is read as it arrives, and reading gives credit back: ${entry}`, async () => {
      let get: PeerCall | undefined
      await using peer = await startFunction(entry, { onCall: (call) => void (get = call).begin() })
      const stream = peer.open({ head: { k: 'event' }, body: JSON.stringify({ what: 'stream', how: 'all' }) })
      await peer.until(() => get !== undefined)
      assert.equal(get!.head.s, true)
      let sent = 0
      while (sent < bytes.length) {
        await peer.until(() => get!.creditBytes + CREDIT_BYTES > sent)
        const size = Math.min(50_000, bytes.length - sent, get!.creditBytes + CREDIT_BYTES - sent)
        get!.data(bytes.subarray(sent, sent + size), sent + size === bytes.length)
        sent += size
      }
      assert.deepEqual((await stream.answer).json, entry === 'objects.py' ? sha(bytes) : bytes.length)
    })

    test(`may be left before its end: ${entry}`, async () => {
      let get: PeerCall | undefined
      await using peer = await startFunction(entry, {
        onCall: (call) => {
          (get = call).begin()
          call.data(bytes.subarray(0, CREDIT_BYTES))
        },
      })
      assert.ok(Number((await peer.event({ what: 'stream', how: 'some', enough: 100_000 })).json) >= 100_000)
      assert.equal(get!.wasReset, true)
    })

    test(`that breaks off raises what the platform says: ${entry}`, async () => {
      await using peer = await startFunction(entry, {
        onCall: (call) => {
          call.begin()
          call.data(bytes.subarray(0, 1000))
          call.fail(new PlatformError('TRANSFER_BROKEN', 'The wire is cut.'))
        },
      })
      assert.deepEqual((await peer.event({ what: 'stream', how: 'all' })).json, { code: 'TRANSFER_BROKEN', message: 'The wire is cut.' })
    })
  }

  test('is read by lines, too', async () => {
    await using peer = await startFunction('objects.py', { onCall: (call) => call.replyBytes(Buffer.from('one\ntwo\n'), 'application/octet-stream') })
    assert.deepEqual((await peer.event({ what: 'stream', how: 'lines' })).json, ['one\n', 'two\n'])
  })
})

describe('by value', needsPythonAndMemory, () => {
  test('bytes are the event: a memoryview when they came as memory, bytes otherwise', async () => {
    await using peer = await start()
    const bytes = pattern(300_000)
    const head = { k: 'event', b: true } as const
    const expect = (type: string, body: Buffer) => ({ type, size: body.length, sha: sha(body) })
    assert.deepEqual((await peer.open({ head, memory: bytes }).answer).json, expect('memoryview', bytes))
    assert.deepEqual((await peer.open({ head, body: bytes.subarray(0, 1000) }).answer).json, expect('bytes', bytes.subarray(0, 1000)))
    assert.deepEqual((await peer.open({ head }).answer).json, expect('bytes', Buffer.alloc(0)))
    const parts = peer.open({ head, body: bytes.subarray(0, 60_000), ended: false })
    parts.data(bytes.subarray(60_000), true)
    assert.deepEqual((await parts.answer).json, expect('bytes', bytes))
  })

  test('JSON and HTTP bodies may come as memory', async () => {
    await using peer = await start()
    const body = Buffer.from(JSON.stringify({ what: 'described', text: 'ä'.repeat(100_000) }))
    assert.deepEqual((await peer.open({ head: { k: 'event' }, memory: body }).answer).json, { size: 100_000 })
    assert.deepEqual((await peer.open({ head: { k: 'http', m: 'POST', u: '/', h: ['content-type', 'application/json'] }, memory: body }).answer).json, { size: 100_000 })
    await using whole = await start({}, 'collects.py')
    const collected = await whole.open({ head: { k: 'http', m: 'POST', u: '/', h: ['content-type', 'application/json'] }, memory: body }).answer
    assert.deepEqual(collected.json, { method: 'post', size: 100_000, raw: 0, body: body.length })
    await using reader = await start({}, 'streams.py')
    assert.deepEqual((await reader.open({ head: { k: 'http', m: 'POST', u: '/', h: [] }, memory: body }).answer).json, { size: body.length, sha256: sha(body) })
  })

  test('large answers of every kind are memory, small ones are not', async () => {
    await using peer = await start()
    const answers = {
      bytes: pattern,
      view: pattern,
      json: (size: number) => Buffer.from(JSON.stringify(['x'.repeat(size)])),
      text: (size: number) => Buffer.from('ü'.repeat(size / 2)),
    }
    for (const [kind, expected] of Object.entries(answers)) {
      for (const size of [100, 1_000_000]) {
        const head = kind === 'text' ? ({ k: 'http', m: 'POST', u: '/', h: ['content-type', 'application/json'] } as const) : ({ k: 'event' } as const)
        const answer = await peer.open({ head, body: JSON.stringify({ what: 'return', kind, size }) }).answer
        assert.ok(answer.body.equals(expected(size)), `${size} of ${kind}`)
        assert.equal(answer.inode !== undefined, size > 65_536, `${size} of ${kind}`)
        assert.ok(answer.usage !== undefined)
      }
    }
  })

  test('large payloads and the answers to them are memory', async () => {
    await using peer = await start()
    for (const [kind, size, type] of [['bytes', 100, 'bytes'], ['bytes', 100_000, 'memoryview'], ['json', 100, 'dict'], ['json', 100_000, 'dict']] as const) {
      assert.deepEqual((await peer.event({ what: 'invoke', kind, size })).json, { type, same: true })
      assert.deepEqual([peer.kept.calls.at(-1)!.head.b, peer.kept.calls.at(-1)!.fd !== undefined], [kind === 'bytes' ? true : undefined, size > 65_536])
    }
  })

  test('is scattered: results in order, what is sent twice is copied once, an error ends the others', async () => {
    await using peer = await start()
    for (const concurrency of [1, 64]) {
      assert.deepEqual((await peer.event({ what: 'scatter', size: 100_000, concurrency })).json, {
        answers: [100_000, 100_000, 3, 'INPUT_INVALID'],
        lazy: Array.from({ length: 70 }, (_, index) => index + 1),
        first: { code: 'INPUT_INVALID', message: 'No bytes.' },
      })
      const [one, other] = peer.kept.inodes.splice(0)
      assert.ok(one !== undefined && one === other)
    }
  })
})

describe('what is let go', needsPythonAndMemory, () => {
  test('leaves no descriptor and no mapping, without a collection of cycles (M2)', async () => {
    await using peer = await start()
    const held = async () => (await peer.event({ what: 'held' })).json as { fds: number; mappings: number }
    await peer.event({ what: 'round', kind: 'allocated', size: 100_000 })
    const before = await held()
    assert.equal(before.mappings, 0)
    for (let round = 0; round < 5; round++) {
      await peer.open({ head: { k: 'event', b: true }, memory: pattern(100_000) }).answer
      await peer.event({ what: 'round', kind: 'allocated', size: 100_000 })
      await peer.event({ what: 'invoke', kind: 'bytes', size: 100_000 })
      await peer.event({ what: 'return', kind: 'bytes', size: 100_000 })
      await peer.event({ what: 'get', reference: 'nobody' })
    }
    assert.deepEqual(await held(), before)
  })

  test('is also what comes after the call was given up (P3)', async () => {
    let late: PeerCall | undefined
    await using peer = await startFunction('objects.py', { memory: true, onCall: (call) => void (late = call) })
    const fds = async () => ((await peer.event({ what: 'held' })).json as { fds: number }).fds
    const before = await fds()
    assert.equal(((await peer.event({ what: 'timeout' })).json as { code: string }).code, 'FUNCTION_TIMEOUT')
    late!.replyMemory(pattern(100_000))
    assert.equal(await fds(), before)
    // Its number has been taken, and comes again.
    assert.equal((await peer.open({ head: { k: 'event', b: true }, memory: pattern(100_000) }).answer).status, 200)
  })
})

describe('a function that has no descriptor left', needsPythonAndMemory, () => {
  test('gives in frames what it has, and is told when it cannot take more; it goes on afterwards (P2)', async () => {
    await using peer = await start()
    const body = pattern(100_000)
    const head = { k: 'event', b: true } as const
    await peer.open({ head, memory: body }).answer
    await peer.event({ what: 'return', kind: 'bytes', size: 100_000 })
    assert.ok(Number((await peer.event({ what: 'descriptors', left: 0 })).json) > 10)
    let answer = await peer.event({ what: 'return', kind: 'bytes', size: 100_000 })
    // One that an earlier invocation had is closed by whoever collects it, whenever that is.
    for (let again = 0; again < 5 && answer.inode !== undefined; again++) {
      await peer.event({ what: 'descriptors', left: 0 })
      answer = await peer.event({ what: 'return', kind: 'bytes', size: 100_000 })
    }
    assert.deepEqual([answer.inode, answer.body.length], [undefined, 100_000])
    const refused = peer.open({ head, memory: body }).answer
    await assert.rejects(refused, (error: PlatformError) => error.code === 'TRANSFER_BROKEN' && /100000 bytes .* too many open files/.test(error.message))
    await peer.event({ what: 'descriptors', left: null })
    assert.equal((await peer.open({ head, memory: body }).answer).status, 200)
  })
})

describe('many at once', needsPythonAndMemory, () => {
  test('from threads, each get what they put', async () => {
    await using peer = await start()
    const before = (await peer.event({ what: 'threads', count: 1 })).json as { fds: number }
    assert.deepEqual((await peer.event({ what: 'threads', count: 16 })).json, { ...before, wrong: [] })
  })

  test('from an async handler, each get what they put, and a platform that takes no frames is not passed memory without end (P1, P2)', async () => {
    await using peer = await start({}, 'async_objects.py')
    const count = 100
    peer.pause()
    // More than the channel holds: the frames that name memory wait behind it.
    const many = peer.event({ what: 'many', count, size: 70_000, noise: 40_000 })
    const turn = () => new Promise((resolve) => setImmediate(resolve))
    while (peer.memory!.ahead < PASSED_AHEAD_MAX / 2) await turn()
    for (let turns = 0; turns < 100; turns++) await turn()
    assert.equal(peer.memory!.ahead, PASSED_AHEAD_MAX / 2)
    peer.resume()
    assert.deepEqual((await many).json, Array.from({ length: count }, () => true))
    const puts = peer.kept.calls.filter((call) => call.head.k === 'put')
    assert.equal(puts.length, count)
  })

  test('go on while an async handler makes an object, or answers with a large one', async () => {
    await using peer = await start({}, 'async_objects.py')
    const reference = (await peer.event({ what: 'produce', count: 30, size: 20_000 })).json as string
    assert.equal((await peer.objects.get(reference)!.payload).length, 600_000)
    const [large, other] = await Promise.all([peer.event({ what: 'large', size: 5_000_000 }), peer.event({ what: 'double', number: 4 })])
    assert.deepEqual([large.body.length, large.inode !== undefined, other.json], [5_000_000, true, 8])
  })
})

describe('what cannot be', needsPython, () => {
  test('is a SkepError with a code, naming the value', async () => {
    await using peer = await start({ memory: false })
    assert.deepEqual((await peer.event({ what: 'get', reference: 'gone' })).json, { code: 'OBJECT_EXPIRED', message: 'gone is over.' })
    const errors = (await peer.event({ what: 'arguments', size: 2 ** 40 })).json as { code: string; message: string }[]
    assert.deepEqual(errors.map((error) => error.code), ['INPUT_INVALID', 'INPUT_INVALID', 'INPUT_INVALID', 'INPUT_INVALID', 'REFERENCE_INVALID', 'INPUT_INVALID', 'INPUT_INVALID'])
    for (const [index, named] of [/dict/, / 0\./, /-1/, /int/, /int/, /-1/, /1099511627776/].entries()) assert.match(errors[index]!.message, named)
    const lost = { code: 'OBJECT_LOST', message: 'Run it again.', details: { function: 'f' } }
    const refused = await startFunction('objects.py', { onCall: (call) => call.reply({ error: lost }, 502) })
    await using other = refused
    assert.deepEqual((await other.event({ what: 'get', reference: 'r' })).json, lost)
    assert.deepEqual((await other.event({ what: 'stream', how: 'all' })).json, lost)
  })
})
