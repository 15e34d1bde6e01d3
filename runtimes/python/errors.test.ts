/**
 * Goal: whatever is wrong with a function, its developer is told what, where, and what to do; the runtime survives what it can.
 *
 * Method: fixtures that are broken in one way each; the error that crosses the channel is looked at.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { needsPython, startFunction, startStemCell } from './start-python.ts'

async function errorOf(promise: Promise<unknown>, code: PlatformErrorCode): Promise<PlatformError> {
  const error = await promise.then(() => assert.fail(`should fail with ${code}`), (thrown: unknown) => thrown)
  assert.ok(error instanceof PlatformError, String(error))
  assert.equal(error.code, code, error.message)
  return error
}

describe('code that cannot be loaded', needsPython, () => {
  test('is CODE_INVALID with file and line when it does not parse', async () => {
    const error = await errorOf(startFunction('bad_syntax.py'), 'CODE_INVALID')
    assert.match(error.message, /^bad_syntax\.py:2: SyntaxError: /)
  })

  test('is HANDLER_NOT_FOUND, naming what is there', async () => {
    const error = await errorOf(startFunction('bad_no_handler.py'), 'HANDLER_NOT_FOUND')
    assert.match(error.message, /it defines helper/)
    assert.match((await errorOf(startFunction('named.py', { handler: 'named.missing' }), 'HANDLER_NOT_FOUND')).message, /missing in named\.py does not exist; it defines convert, on_event/)
    assert.match((await errorOf(startFunction('named.py', { handler: 'value' }), 'HANDLER_NOT_FOUND')).message, /is int, not a function/)
    assert.match((await errorOf(startFunction('absent.py'), 'HANDLER_NOT_FOUND')).message, /no file absent\.py .* it has .*echo_main\.py/)
  })

  test('is INIT_FAILED with the traceback of its own frames when it raises', async () => {
    const error = await errorOf(startFunction('bad_load.py'), 'INIT_FAILED')
    assert.equal(error.message, 'RuntimeError: no database')
    assert.match(error.functionStack!, /bad_load\.py", line 9, in <module>[\s\S]*bad_load\.py", line 6, in prepare/)
    assert.doesNotMatch(error.functionStack!, /loader\.py|importlib/)
  })

  test('says how to bring a missing package', async () => {
    const error = await errorOf(startFunction('bad_import.py'), 'INIT_FAILED')
    assert.match(error.message, /No module named 'helper_that_is_missing'; .*pip install --target \. helper_that_is_missing/)
  })

  test('is INIT_FAILED when it exits, and the runtime ends', async () => {
    await using peer = startStemCell()
    const error = await errorOf(peer.init({ entry: 'bad_exit.py' }), 'INIT_FAILED')
    assert.match(error.message, /sys\.exit\('usage: …'\) while it was loaded/)
    assert.deepEqual(await peer.exited, { code: 1, signal: null })
  })

  test('still shows what it printed before', async () => {
    await using peer = startStemCell()
    await errorOf(peer.init({ entry: 'bad_load.py' }), 'INIT_FAILED')
    assert.deepEqual(peer.logs, [{ stream: 0, level: 'stdout', text: 'loading' }])
  })
})

describe('a handler that fails', needsPython, () => {
  test('is FUNCTION_THREW with type, message and its own stack, and the next invocation is not touched', async () => {
    await using peer = await startFunction('behaves.py')
    const error = await errorOf(peer.event({ what: 'throw' }), 'FUNCTION_THREW')
    assert.equal(error.message, 'ValueError: too deep')
    assert.match(error.functionStack!, /^Traceback[\s\S]*in main\n[\s\S]*in deeper\n[\s\S]*ValueError: too deep$/)
    assert.doesNotMatch(error.functionStack!, /execute\.py|runtime\.py|loader\.py/)
    const chained = await errorOf(peer.event({ what: 'chained' }), 'FUNCTION_THREW')
    assert.match(chained.functionStack!, /ValueError: too deep[\s\S]*direct cause[\s\S]*RuntimeError: gave up/)
    assert.equal((await errorOf(peer.event({ what: 'unprintable' }), 'FUNCTION_THREW')).message, 'Unprintable')
    assert.deepEqual((await peer.event({ fine: 1 })).json, { fine: 1 })
  })

  test('by sys.exit or KeyboardInterrupt does not end the instance', async () => {
    await using peer = await startFunction('behaves.py')
    assert.match((await errorOf(peer.event({ what: 'sys-exit' }), 'FUNCTION_THREW')).message, /sys\.exit\(3\)/)
    assert.match((await errorOf(peer.event({ what: 'interrupt' }), 'FUNCTION_THREW')).message, /KeyboardInterrupt/)
    assert.deepEqual((await peer.event({ fine: 1 })).json, { fine: 1 })
  })

  test('by os._exit ends the process, after its last words', async () => {
    await using peer = await startFunction('behaves.py')
    await errorOf(peer.event({ what: 'os-exit' }), 'INSTANCE_LOST')
    assert.deepEqual(await peer.exited, { code: 5, signal: null })
    assert.deepEqual(peer.logs.map((log) => log.text), ['last words'])
  })

  test('in an async handler is told the same way', async () => {
    await using peer = await startFunction('async_main.py')
    const error = await errorOf(peer.event({ what: 'fail' }), 'FUNCTION_THREW')
    assert.equal(error.message, 'LookupError: nothing there')
    assert.doesNotMatch(error.functionStack!, /async_runner\.py/)
  })

  test('that forks and answers twice is heard once', async () => {
    await using peer = await startFunction('behaves.py')
    assert.equal((await peer.event({ what: 'fork' })).json, 'from the parent')
    assert.deepEqual((await peer.event({ fine: 1 })).json, { fine: 1 })
  })

  test('before a stream begins answers with the error, and after it breaks off', async () => {
    await using peer = await startFunction('streams.py')
    await errorOf(peer.http({ path: '/?what=fail-first' }), 'FUNCTION_THREW')
    const stream = peer.open({ head: { k: 'http', m: 'GET', u: '/?what=fail-later', h: [] } })
    assert.equal((await stream.headSeen).s, 200)
    assert.equal((await errorOf(stream.answer, 'FUNCTION_THREW')).message, 'RuntimeError: broke off')
    assert.equal(stream.received.length, 20)
  })
})
