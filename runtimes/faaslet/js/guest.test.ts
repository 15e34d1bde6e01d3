/**
 * Goal: a JavaScript guest boots, restores, answers, calls, fetches, streams, logs and fails as the README says.
 * Method: real QuickJS, memory copied as a snapshot (guest-kit.ts); frames and called functions are played by the test.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { PlatformError } from '../../../src/contract/errors.ts'
import { loadNative } from '../../../src/pager/native.ts'
import { nodeFixtures } from '../../../test/kit/runtime-peer.ts'
import { bundleFixture, GuestKit } from './guest-kit.ts'

const failure = async (promise: Promise<unknown>): Promise<PlatformError> => promise.then(() => assert.fail('it did not fail'), (error: PlatformError) => error)
const fetching = (body: string, before = ''): string => `${before}\nexport default { async fetch(request, env, ctx) { ${body} } }`

test('what the code made while it loaded is there in every faaslet, and what an invocation changes is not', async () => {
  const kit = await GuestKit.boot(fetching('return Response.json([++n, table.get("a")])', 'let n = 0; const table = new Map([["a", await Promise.resolve(1)]])'))
  assert.equal(kit.guest.shapeOf(kit.restore()), 'fetch')
  for (let at = 0; at < 3; at++) assert.equal((await kit.http('GET', '/')).text, '[1,1]')
  const reused = kit.restore()
  assert.deepEqual([(await kit.http('GET', '/', { faaslet: reused })).text, (await kit.http('GET', '/', { faaslet: reused })).text], ['[1,1]', '[2,1]'])
})

test('env and process.env are the given variables and a few standard ones', async () => {
  const kit = await GuestKit.boot({ source: fetching('return Response.json([env, process.env])'), frame: { environment: { KEY: 'v' } } })
  const [env, variables] = JSON.parse((await kit.http('GET', '/')).text) as Record<string, string>[]
  assert.deepEqual(Object.keys(env!).sort(), ['HOME', 'KEY', 'NODE_ENV', 'PATH', 'TMPDIR'])
  assert.deepEqual(variables, env)
})

test('the SDK calls functions and gives results, errors, context and log', async () => {
  const source = await bundleFixture(join(nodeFixtures, 'calls.ts'))
  const kit = await GuestKit.boot({
    source,
    call: ({ f, m }, body) => (f === 'gone' ? { code: 'FUNCTION_NOT_FOUND', message: 'no such function' } : f === 'silent' ? 'never' : m === undefined ? { body: `{"echo":${body.toString()}}` } : { status: 201, headers: ['content-type', 'text/x'], body: `got ${body.toString()}` }),
  })
  const call = async (event: object): Promise<unknown> => JSON.parse((await kit.event(event)).text)
  assert.deepEqual(await call({ call: 'invoke', name: 'ns/other', payload: { a: 1 } }), { result: { echo: { a: 1 } } })
  assert.deepEqual(kit.callsMade.at(-1), { k: 'event', f: 'ns/other', c: 2 })
  assert.deepEqual(kit.logs.at(-1), { stream: 2, level: 'info', text: 'calling {"name":"ns/other"}' })
  assert.deepEqual(await call({ call: 'invoke', name: 'gone' }), { isSkepError: true, code: 'FUNCTION_NOT_FOUND', message: 'no such function' })
  assert.equal(((await call({ call: 'invoke', name: 'silent', timeoutMs: 5 })) as { code: string }).code, 'FUNCTION_TIMEOUT')
  await call({ call: 'async', payload: 1 })
  assert.equal(kit.callsMade.at(-1)!.a, true)
  assert.deepEqual(await call({ call: 'fetch' }), { status: 201, type: 'text/x', text: 'got request body', isResponse: true })
  assert.deepEqual([kit.callsMade.at(-1)!.m, kit.callsMade.at(-1)!.u, kit.callsMade.at(-1)!.h], ['POST', '/path?q=1', ['content-type', 'text/plain;charset=UTF-8', 'x-a', '1']])
  const told = (await call({ call: 'context' })) as Record<string, unknown>
  assert.deepEqual([told['invocationId'], told['namespace'], told['function'], told['revision'], told['instance'], told['attempt'], told['aborted']], ['inv-1', 'guest', 'fn', 3, 'i-1', 1, false])
})

test('a large payload of a call is streamed', async () => {
  const kit = await GuestKit.boot({ source: 'import { invoke } from "skep"; export const main = async () => ({ got: await invoke("x", "y".repeat(500_000)) })', call: (_head, body) => ({ body: String(body.length) }) })
  assert.equal((await kit.event()).text, '{"got":500002}')
})

test('fetch reaches a server, streams both ways, and is refused without network', async (context) => {
  const server = createServer((request, response) => {
    if (request.url === '/slow') return
    response.setHeader('x-method', request.method!)
    response.writeHead(request.url === '/redirect' ? 302 : 200, request.url === '/redirect' ? { location: '/' } : {})
    request.pipe(response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  context.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const source = fetching(`
    const stream = () => ReadableStream.from(['a', 'b', 'c'].map((c) => new TextEncoder().encode(c)))
    const echo = await fetch('${base}/', { method: 'POST', body: 'sent' })
    const streamed = await fetch('${base}/', { method: 'PUT', body: stream(), duplex: 'half' })
    const redirected = await fetch('${base}/redirect')
    const aborted = await fetch('${base}/slow', { signal: AbortSignal.timeout(5) }).catch((e) => e.name)
    const refused = await fetch('http://127.0.0.1:1/').catch((e) => [e.name, e.message, e.cause.message])
    return Response.json([echo.status, echo.headers.get('x-method'), await echo.text(), await streamed.text(), redirected.redirected, redirected.url, aborted, refused])`)
  const kit = await GuestKit.boot({ source, fetch })
  assert.deepEqual(JSON.parse((await kit.http('GET', '/')).text), [200, 'POST', 'sent', 'abc', true, `${base}/`, 'TimeoutError', ['TypeError', 'fetch failed', 'bad port']])
  const without = await GuestKit.boot(fetching(`return new Response(await fetch('${base}/').catch((e) => e.code + ': ' + e.message))`))
  assert.match((await without.http('GET', '/')).text, /^FORBIDDEN: The function has no network/)
})

test('a request body comes in as it is read, and an answer goes out as there is credit', async () => {
  const kit = await GuestKit.boot(fetching('let n = 0; for await (const c of request.body) n += c.length; return Response.json(n)'))
  const { invocation, received } = kit.begin({ k: 'http', m: 'POST', u: '/' }, 'first', true)
  const done = kit.run(kit.restore(), invocation)
  for (let at = 0; at < 5; at++) {
    await new Promise(setImmediate)
    invocation.body.push(Buffer.alloc(50_000), at === 4)
  }
  assert.equal((await received.answer).text, '250005')
  await done
  const endless = await GuestKit.boot('let cancelled = false; export default { fetch: () => new Response(new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(65536)), cancel: () => console.log("cancelled") })) }')
  endless.givesCredit = false
  const begun = endless.begin({ k: 'http', m: 'GET', u: '/' })
  const ended = endless.run(endless.restore(), begun.invocation)
  for (let at = 0; at < 50; at++) await new Promise(setImmediate)
  assert.equal(Buffer.concat(begun.received.chunks).length, 4 * 65_536)
  begun.invocation.cancel()
  await ended
  assert.deepEqual(endless.logs.map(({ text }) => text), ['cancelled'])
})

test('cancelling aborts the signal, ends reads, calls and timers, and the faaslet is done', async () => {
  const kit = await GuestKit.boot({
    source: fetching('request.signal.addEventListener("abort", () => console.log("aborted", request.signal.reason.name)); request.text().catch((e) => console.log("read", e.name)); setTimeout(() => console.log("never"), 500); import("skep").then((s) => s.invoke("x")).catch(() => {}); await new Promise(() => {})'),
    call: () => 'never',
  })
  const { invocation } = kit.begin({ k: 'http', m: 'POST', u: '/' }, 'part', true)
  const faaslet = kit.restore()
  const done = kit.run(faaslet, invocation)
  // Until it runs: the kit begins it in the next turn, and a timer alone may come before that.
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setTimeout(resolve, 0))
  invocation.cancel()
  await done
  await new Promise((resolve) => setTimeout(resolve, 5))
  assert.deepEqual(kit.logs.map(({ text }) => text), ['aborted AbortError', 'read AbortError'])
  assert.equal(kit.guest.isReusable(faaslet), false)
})

test('late work goes on after the answer; timers that nobody waits for do not', async () => {
  const kit = await GuestKit.boot(fetching('setTimeout(() => console.log("dropped"), 20); ctx.waitUntil(new Promise((r) => setTimeout(() => { console.log("late"); r() }, 3))); return new Response("early")'))
  const { invocation, received } = kit.begin({ k: 'http', m: 'GET', u: '/' })
  const done = kit.run(kit.restore(), invocation)
  assert.equal((await received.answer).text, 'early')
  assert.equal(invocation.hasLateWork, true)
  await done
  assert.equal(invocation.hasLateWork, false)
  assert.deepEqual(kit.logs.map(({ text }) => text), ['late'])
})

test('timers that are set while loading begin with the first invocation', async () => {
  const kit = await GuestKit.boot(fetching('await new Promise((r) => { fired = r }); return new Response("fired")', 'let fired; setTimeout(() => fired(), 1).unref()'))
  assert.equal((await kit.http('GET', '/')).text, 'fired')
})

test('output is logged with its level, as Node prints it', async () => {
  const kit = await GuestKit.boot(fetching(`
    console.log('one', { two: 2, deep: { a: { b: { c: 1 } } } }, [1, 'x'], null, undefined); console.error('three'); console.debug('%s is %d %j %%', 'x', 4, { a: 1 }); console.warn(new Map([['a', new Set([1])]]), Symbol('s'), 10n, -0, () => 1, class A {})
    process.stdout.write('five\\nsi'); process.stdout.write('x\\n'); process.stderr.write('rest'); console.group('g'); console.info('in\\nside'); console.groupEnd(); console.assert(false, 'no'); console.log(new Date(0), /x/g, new Uint8Array(2), Object.create(null), new (class B { x = 1 })); console.table([{ a: 1 }, { b: 'x' }])
    return new Response()`))
  await kit.http('GET', '/')
  assert.deepEqual(kit.logs.map(({ level, text }) => `${level} ${text}`), [
    "info one { two: 2, deep: { a: { b: [Object] } } } [ 1, 'x' ] null undefined",
    'error three',
    'debug x is 4 {"a":1} %',
    "warn Map(1) { 'a' => Set(1) { 1 } } Symbol(s) 10n -0 [Function (anonymous)] [class A]",
    'stdout five',
    'stdout six',
    'info g',
    'info   in\n  side',
    'warn Assertion failed: no',
    'info 1970-01-01T00:00:00.000Z /x/g Uint8Array(2) [ 0, 0 ] [Object: null prototype] {} B { x: 1 }',
    "info ┌─────────┬───┬─────┐\n│ (index) │ a │ b   │\n├─────────┼───┼─────┤\n│ 0       │ 1 │     │\n│ 1       │   │ 'x' │\n└─────────┴───┴─────┘",
    'stderr rest',
  ])
})

test('a thrown error is FUNCTION_THREW with its stack in the file of the user', async () => {
  const kit = await GuestKit.boot('function deeper() {\n  throw new TypeError("on purpose")\n}\nexport default {\n  fetch(request) {\n    if (request.url.endsWith("text")) throw "just text"\n    if (request.url.endsWith("async")) return Promise.resolve().then(deeper)\n    return deeper()\n  },\n}')
  const error = await failure(kit.http('GET', '/'))
  assert.deepEqual([error.code, error.message, error.functionStack], ['FUNCTION_THREW', 'TypeError: on purpose', 'TypeError: on purpose\n    at deeper (index.js:2:13)\n    at fetch (index.js:8:12)'])
  assert.match((await failure(kit.http('GET', '/async'))).functionStack!, /^TypeError: on purpose\n {4}at deeper \(index\.js:2:13\)$/)
  assert.match((await failure(kit.http('GET', '/text'))).message, /"just text", which is not an Error/)
})

test('stacks are mapped to the sources of the bundle', async () => {
  // One segment per line: column 0 of line n is line n + 1 of src/a.ts, column 3.
  const kit = await GuestKit.boot({ source: 'export default { fetch() {\nthrow new Error("x") } }', frame: { entry: 'dist/index.mjs' }, sourceMap: JSON.stringify({ version: 3, sources: ['../src/a.ts'], names: [], mappings: 'AACG;AACA' }) })
  assert.equal((await failure(kit.http('GET', '/'))).functionStack, 'Error: x\n    at fetch (src/a.ts:3:14)')
})

test('errors that nobody catches fail the invocation and are logged', async () => {
  for (const [code, what] of [['Promise.reject(new Error("nobody"))', 'Unhandled rejection'], ['setTimeout(() => { throw new Error("nobody") }, 1)', 'Uncaught'], ['queueMicrotask(() => { throw new Error("nobody") })', 'Uncaught']] as const) {
    const kit = await GuestKit.boot(fetching(`${code}; await new Promise((r) => setTimeout(r, 10)); return new Response("x")`))
    const error = await failure(kit.http('GET', '/'))
    assert.deepEqual([error.code, error.message], ['FUNCTION_THREW', 'Error: nobody'])
    assert.match(kit.logs[0]!.text, new RegExp(`^${what}: Error: nobody\\n`))
  }
  // Handled before the jobs of the turn are done: as in Node, that is in time.
  const handled = await GuestKit.boot(fetching('const p = Promise.reject(new Error("x")); await null; p.catch(() => {}); return new Response("fine")'))
  assert.equal((await handled.http('GET', '/')).text, 'fine')
})

test('what is no answer is ANSWER_INVALID with the reason', async () => {
  for (const [value, reason] of [['Symbol("garbage")', /returned Symbol\(garbage\)/], ['undefined', /returned nothing/], ['{ a: 1 }', /an object \(Object\)/], ['Response.error()', /status is 0/], ['(async () => { const r = new Response("x"); await r.text(); return r })()', /has been read already/]] as const) {
    const kit = await GuestKit.boot(fetching(`return ${value}`))
    const error = await failure(kit.http('GET', '/'))
    assert.equal(error.code, 'ANSWER_INVALID')
    assert.match(error.message, reason)
  }
})

test('code that cannot load is refused with the reason', async () => {
  const handler = '\nexport default { fetch: () => new Response() }'
  const cases: [string, string, RegExp][] = [
    ['let = = 1', 'CODE_INVALID', /^index\.js:1:\d+: /],
    ['import x from "left-pad"' + handler, 'CODE_INVALID', /Cannot find module "left-pad": kind js has none of Node's modules/],
    ['function prepare() { throw new Error("no database") }\nprepare()', 'INIT_FAILED', /"index\.js" failed while it was loaded: Error: no database$/],
    ['const b = Buffer.from("x")' + handler, 'INIT_FAILED', /Kind js has no Buffer: use the web's own interfaces/],
    ['await new Promise((r) => setTimeout(r, 1))' + handler, 'INIT_FAILED', /waits at its top level for something that comes from outside/],
    ['await fetch("http://a.test/")' + handler, 'INIT_FAILED', /fetch and calls of functions are not possible while the code loads/],
    ['import { invoke } from "skep"; await invoke("x")' + handler, 'INIT_FAILED', /not possible while the code loads/],
    ['const id = crypto.randomUUID()' + handler, 'INIT_FAILED', /Random values cannot be made while the code loads/],
    ['process.exit(3)' + handler, 'INIT_FAILED', /process\.exit\(3\) was called/],
    ['const a = []; for (;;) a.push(new Array(10000).fill(1))' + handler, 'FUNCTION_OUT_OF_MEMORY', /more than its 64 MB/],
    ['(function f() { f(); f() })()' + handler, 'INIT_FAILED', /Maximum call stack size exceeded/],
  ]
  for (const [source, code, message] of cases) {
    const error = await failure(GuestKit.boot(source))
    assert.equal(error.code, code, `${source}: ${error.message}`)
    assert.match(error.message, message)
  }
  assert.equal((await failure(GuestKit.boot(cases[2]![0]))).functionStack, 'Error: no database\n    at prepare (index.js:1:32)\n    at <anonymous> (index.js:2:1)')
})

test('the memory of another version is refused', async () => {
  const kit = await GuestKit.boot(fetching('return new Response()'))
  const faaslet = kit.restore()
  new Uint8Array(faaslet.memory.buffer).fill(0, kit.snapshot.stackPointer, kit.snapshot.stackPointer + 64)
  assert.throws(() => kit.guest.invoke(faaslet, kit.begin({ k: 'http' }).invocation), { code: 'INTERNAL', message: /made by another version/ })
})

test('code that spins is stopped at its deadline, in the handler and after a wait', { skip: loadNative() === undefined && 'the addon is not built: nothing stops code that spins' }, async () => {
  for (const source of [fetching('for (;;);'), fetching('await new Promise((r) => setTimeout(r, 1)); for (;;);'), fetching('await request.text(); JSON.parse("[1]".repeat(1)); for (;;) await null')]) {
    const kit = await GuestKit.boot(source)
    const { invocation } = kit.begin({ k: 'http', m: 'GET', u: '/', d: Date.now() + 60 })
    await assert.rejects(kit.run(kit.restore(), invocation), { code: 'FUNCTION_TIMEOUT' })
    const next = await GuestKit.boot(fetching('return new Response("fine")'))
    assert.equal((await next.http('GET', '/')).text, 'fine')
  }
})
