/**
 * Goal: the web's globals of the guest behave as Node's own.
 * Method: the same expressions are evaluated in a restored guest and in this process; values are compared as JSON, errors by their name.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { GuestKit } from './guest-kit.ts'

async function same(expressions: readonly string[]): Promise<void> {
  const [guest, node] = await Promise.all([GuestKit.evaluate(expressions), GuestKit.evaluateHere(expressions)])
  const differing = expressions.flatMap((expression, at) => (JSON.stringify(guest[at]) === JSON.stringify(node[at]) ? [] : [{ expression, guest: guest[at], node: node[at] }]))
  assert.deepEqual(differing, [])
}

test('URL and URLSearchParams', async () => {
  const urls = ['http://a/b?c=1#d', 'https://u:p@H.test:443/x/../y?q=ü#ü', 'HTTP://a:80', 'not a url', '', 'data:text/plain,x', 'file:///a', 'http://[::1]:8080/', 'http://exa mple', 'http://xn--nxasmq6b', 'http://ü.test/%zz', 'mailto:a@b']
  const show = '(u) => [u.href, u.origin, u.protocol, u.username, u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash, String(u), JSON.stringify(u), [...u.searchParams]]'
  await same([
    ...urls.map((url) => `(${show})(new URL(${JSON.stringify(url)}))`),
    ...['../x?y', '//host/p', '#f', '?q', ''].map((path) => `(${show})(new URL(${JSON.stringify(path)}, 'http://base.test/a/b?c#d'))`),
    ...['protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash'].map((name) => `(() => { const u = new URL('http://a.test:81/p?q#h'); u.${name} = 'x ü/:9?#'; return (${show})(u) })()`),
    `(() => { const u = new URL('http://a/'); u.href = 'bad' })()`,
    `(() => { const u = new URL('http://a/?a=1'); u.searchParams.append('b', 'ü &'); u.searchParams.delete('a'); const one = u.href; u.search = '?z=9'; return [one, [...u.searchParams], u.searchParams === u.searchParams] })()`,
    `[URL.canParse('x'), URL.canParse('x', 'http://a'), URL.parse('x'), URL.parse('http://a/b').href]`,
    `new URL()`, `new URL('/x', 'bad')`, `Object.prototype.toString.call(new URL('http://a'))`,
    ...['a=1&b=2&a=3', '?a=%20+%C3%BC', 'a&=b&c=', '%zz=%e4&x=%', 'a=b=c', '', 'a=\ud800'].map((query) => `(() => { const p = new URLSearchParams(${JSON.stringify(query)}); return [[...p], String(p), p.size] })()`),
    `String(new URLSearchParams({ a: 1, b: "x y*-._~!'()" }))`, `String(new URLSearchParams([['a', 'b'], ['c', 'd']]))`, `String(new URLSearchParams(new Map([['x', 'y']])))`,
    `new URLSearchParams([['a']])`, `new URLSearchParams([1])`,
    `(() => { const p = new URLSearchParams('b=1&a=2&b=3'); p.sort(); p.set('b', 9); p.append('c', null); return [String(p), p.get('b'), p.get('zz'), p.getAll('a'), p.has('a'), p.has('a', '3'), [...p.keys()], [...p.values()]] })()`,
    `(() => { const p = new URLSearchParams('a=1&a=2'); p.delete('a', '1'); return String(p) })()`,
    `new URLSearchParams().get()`, `new URLSearchParams().append('x')`,
  ])
})

test('TextEncoder and TextDecoder', async () => {
  const bytes = ['[]', '[104,105]', '[0xef,0xbb,0xbf,97]', '[0xff,0xfe]', '[0xe2,0x82]', '[0xc3,0x28]', '[0xf0,0x9f,0x92,0xa9]', '[0xed,0xa0,0x80]', '[0xc0,0x80]']
  await same([
    `[...new TextEncoder().encode('a\u00fc\u{1f4a9}')]`, `[...new TextEncoder().encode('\\ud800x')]`, `[...new TextEncoder().encode()]`,
    `(() => { const b = new Uint8Array(4); return [new TextEncoder().encodeInto('a\u00fc\u{1f4a9}', b), [...b]] })()`,
    ...bytes.flatMap((list) => [`new TextDecoder().decode(new Uint8Array(${list}))`, `new TextDecoder('utf-8', { fatal: true }).decode(new Uint8Array(${list}))`, `new TextDecoder('UTF8 ', { ignoreBOM: true }).decode(new Uint8Array(${list}).buffer)`]),
    `(() => { const d = new TextDecoder(); return [d.decode(new Uint8Array([0xf0, 0x9f]), { stream: true }), d.decode(new Uint8Array([0x92]), { stream: true }), d.decode(new Uint8Array([0xa9, 97]), { stream: true }), d.decode()] })()`,
    `(() => { const d = new TextDecoder(); return [d.decode(new Uint8Array([0xe2, 0x82]), { stream: true }), d.decode()] })()`,
    `(() => { const d = new TextDecoder(); return [d.decode(new Uint8Array([0xef, 0xbb]), { stream: true }), d.decode(new Uint8Array([0xbf, 97]), { stream: true }), d.decode(new Uint8Array([0xef, 0xbb, 0xbf]))] })()`,
    `[new TextDecoder().encoding, new TextDecoder().fatal, new TextDecoder().decode()]`, `new TextDecoder('nonsense')`, `new TextDecoder().decode(new DataView(new Uint8Array([97, 98]).buffer, 1))`,
    `(async () => { const r = new Response('a\u00fcb').body.pipeThrough(new TextDecoderStream()); let t = ''; for await (const c of r) t += c; return t })()`,
  ])
})

test('UTF-8 of any bytes decodes as in Node, in one piece and in two', async () => {
  const samples = fc.sample(fc.tuple(fc.uint8Array({ maxLength: 12 }), fc.nat(12)), { numRuns: 150, seed: 7 })
  await same(samples.map(([list, at]) => `(() => { const b = new Uint8Array([${[...list]}]), d = new TextDecoder(); return [new TextDecoder().decode(b), d.decode(b.subarray(0, ${at}), { stream: true }) + d.decode(b.subarray(${at}))] })()`))
})

test('base64, structuredClone and crypto', async () => {
  await same([
    `[btoa('hi there'), atob('aGkgdGhlcmU='), atob(' aGk ')]`, `btoa('\u20ac')`, `atob('a')`,
    `structuredClone({ a: [1, { b: new Date(5) }], c: null, d: undefined, e: 'x' })`,
    `(() => { const a = { n: 1 }; a.self = a; const c = structuredClone(a); return [c !== a, c.self === c, c.n] })()`,
    `(() => { const c = structuredClone(new Map([[1, new Set([2])]])); return [c instanceof Map, [...c.get(1)]] })()`,
    `(() => { const e = structuredClone(new RangeError('m', { cause: { x: 1 } })); return [e instanceof RangeError, e.message, e.cause] })()`,
    `(() => { const b = new Uint8Array([1, 2, 3]).buffer; const v = structuredClone([new Uint8Array(b, 1), new Uint16Array(1), b]); return [[...v[0]], v[0].buffer === v[2], v[0].byteOffset] })()`,
    `(() => { const b = new ArrayBuffer(4); const c = structuredClone(b, { transfer: [b] }); return [b.byteLength, c.byteLength] })()`,
    `structuredClone(() => 1)`, `structuredClone({ s: Symbol() })`, `structuredClone()`, `structuredClone(new (class A { x = 1; #y = 2 }))`, `String(structuredClone(/x/gi))`, `structuredClone(new Number(4)) + 1`, `structuredClone(10n) === 10n`,
    `crypto.getRandomValues(new Uint8Array(8)).length`, `crypto.getRandomValues(new Float32Array(1))`, `crypto.getRandomValues(new Uint8Array(65537))`,
    `/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID())`,
    `new Set(crypto.getRandomValues(new Uint32Array(100))).size`,
  ])
  const [digest] = (await GuestKit.evaluate([`crypto.subtle.digest('SHA-256', new Uint8Array(1)).catch((e) => [e.name, e.message])`])) as [{ value: string[] }]
  assert.match(digest.value.join(), /NotSupportedError,crypto.subtle.digest is not there in kind js/)
})

test('Headers, Request and Response', async () => {
  const response = '(async (r) => [r.status, r.ok, r.statusText, r.type, r.url, r.redirected, r.bodyUsed, [...r.headers], await r.text(), r.bodyUsed])'
  const request = '(async (r) => [r.method, r.url, r.cache, r.credentials, r.destination, r.integrity, r.keepalive, r.mode, r.redirect, r.referrer, r.referrerPolicy, r.duplex, [...r.headers], await r.text()])'
  const bodies = ['undefined', 'null', `'text'`, `''`, `new Uint8Array([104, 105])`, `new Uint8Array([104, 105]).buffer`, `new URLSearchParams({ a: 'b c' })`, `new Blob(['blob'], { type: 'Text/X' })`, `new Blob(['x'])`, '12', '{}', `new DataView(new ArrayBuffer(2))`, `ReadableStream.from([new Uint8Array([104])])`]
  const inits = ['undefined', '{}', '{ status: 201, statusText: "Made" }', '{ status: 204 }', '{ status: 199 }', '{ status: 600 }', '{ status: "404" }', '{ statusText: "a\\nb" }', '{ headers: { a: "1", "Content-Type": "x/y" } }', '{ headers: [["a", "1"], ["A", "2"]] }', '{ headers: { "bad name": "1" } }', '1', 'null']
  await same([
    ...bodies.flatMap((body) => inits.map((init) => `${response}(new Response(${body}, ${init}))`)),
    `${response}(Response.json({ a: 1 }))`, `${response}(Response.json(1, { status: 201, headers: { 'content-type': 'application/problem+json', x: '1' } }))`, `Response.json(undefined)`, `Response.json(1n)`, `Response.json({}, { status: 204 })`,
    `${response}(Response.redirect('http://a/b'))`, `Response.redirect('http://a/b', 200)`, `Response.redirect('x')`, `[Response.error().type, Response.error().status]`,
    ...bodies.map((body) => `${request}(new Request('http://a.test/p?q#h', { method: 'POST', body: ${body}, duplex: 'half' }))`),
    ...['{}', '{ method: "get" }', '{ method: "patch" }', '{ method: "TRACE" }', '{ method: "a b" }', '{ body: "x" }', '{ method: "HEAD", body: "x" }', '{ redirect: "manual" }', '{ redirect: "x" }', '{ mode: "nonsense" }', '{ cache: "no-store", credentials: "omit", keepalive: true }', '{ signal: 1 }', '{ headers: { a: "b" } }', '{ method: "POST", body: ReadableStream.from(["x"]) }'].map((init) => `${request}(new Request('http://a.test/', ${init}))`),
    `new Request('/relative')`, `new Request('http://u:p@a/')`, `new Request()`,
    `(async () => { const a = new Request('http://a/', { method: 'POST', body: 'x', headers: { h: '1' } }); const b = new Request(a); return [a.bodyUsed, await b.text(), b.method, b.headers.get('h')] })()`,
    `(async () => { const a = new Request('http://a/', { method: 'POST', body: 'x' }); await a.text(); new Request(a) })()`,
    `(async () => { const a = new Request('http://a/', { method: 'POST', body: 'x', headers: { h: '1' } }); const b = new Request(a, { method: 'PUT', body: 'y', headers: { i: '2' } }); return [await a.text(), await b.text(), [...b.headers]] })()`,
    `(async () => { const a = new Response('x', { headers: { h: '1' } }); const b = a.clone(); b.headers.set('h', '2'); return [await a.text(), await b.text(), a.headers.get('h')] })()`,
    `(async () => { const a = new Response(ReadableStream.from([new Uint8Array([1]), new Uint8Array([2])])); const b = a.clone(); return [[...await a.bytes()], [...await b.bytes()]] })()`,
    `(async () => { const a = new Response('x'); await a.text(); a.clone() })()`, `(async () => { const a = new Response('x'); await a.text(); await a.text() })()`, `(async () => { const a = new Response('x'); a.body.getReader(); await a.text() })()`,
    `new Response(new ReadableStream({ start: (c) => { c.enqueue('text'); c.close() } })).text()`,
    `(async () => [await new Response('{"a":1}').json(), (await new Response('ab').arrayBuffer()).byteLength, (await new Response('x', { headers: { 'content-type': 'a/b' } }).blob()).type, new Response().body, await new Response().text()])()`,
    `new Response('not json').json()`, `(async () => [...(await new Response('a=1&b=%20', { headers: { 'content-type': 'application/x-www-form-urlencoded' } }).formData())])()`, `new Response('x').formData()`,
    `[new Response() instanceof Response, new Headers() instanceof Headers, Response.name, Request.name, Headers.name, Object.prototype.toString.call(new Response()), Object.prototype.toString.call(new Request('http://a'))]`,
    `(() => { const h = new Headers({ b: '1', A: ' 2 ' }); h.append('a', '3'); h.append('Set-Cookie', 'x'); h.append('set-cookie', 'y'); h.delete('b'); return [[...h], h.get('A'), h.has('b'), h.getSetCookie(), [...h.keys()]] })()`,
    `new Headers([['a']])`, `new Headers({ a: 'x\\ny' })`, `new Headers().get('bad name')`, `Response()`,
    `(async () => { const f = new FormData(); f.append('a', '1'); f.append('file', new Blob(['data'], { type: 't/x' }), 'n"ame.txt'); const r = new Response(f); const back = await r.formData(); const file = back.get('file'); return [r.headers.get('content-type').startsWith('multipart/form-data; boundary='), back.get('a'), file.name, file.type, await file.text(), file instanceof File] })()`,
    `new Response('--x\\r\\nbroken', { headers: { 'content-type': 'multipart/form-data; boundary=x' } }).formData()`,
    `(() => { const f = new FormData(); f.append('a', 1); f.append('a', 2); f.set('b', 'x'); f.set('a', 3); f.delete('b'); return [[...f], f.has('a'), f.get('zz'), f.getAll('a')] })()`,
    `(async () => { const b = new Blob(['ab', new Uint8Array([99]), new Blob(['d'])], { type: 'A/B' }); return [b.size, b.type, await b.text(), await b.slice(1, -1).text(), b.slice(0, 1, 'x/y').type, [...await b.bytes()]] })()`, `new Blob('text')`,
  ])
})

test('events and abort signals', async () => {
  await same([
    `(() => { const c = new AbortController(); let n = 0; c.signal.addEventListener('abort', () => n++, { once: true }); c.signal.onabort = () => n++; c.abort(); c.abort(); return [n, c.signal.aborted, c.signal.reason.name] })()`,
    `(() => { const c = new AbortController(); c.abort('why'); return c.signal.reason })()`, `AbortSignal.abort().throwIfAborted()`, `new AbortSignal()`,
    `(() => { const c = new AbortController(); const s = AbortSignal.any([c.signal, new AbortController().signal]); c.abort('x'); return [s.aborted, s.reason] })()`,
    `new Promise((resolve) => { AbortSignal.timeout(1).onabort = (e) => resolve([e.type, e.target.reason.name]) })`,
    `(() => { const t = new EventTarget(); const seen = []; const l = { handleEvent: (e) => seen.push(e.type) }; t.addEventListener('a', l); t.addEventListener('a', l); t.addEventListener('a', (e) => { seen.push('two'); e.preventDefault() }); const r = t.dispatchEvent(new Event('a', { cancelable: true })); t.removeEventListener('a', l); t.dispatchEvent(new Event('a')); return [seen, r] })()`,
    `new CustomEvent('x', { detail: 4 }).detail`, `(() => { const t = new EventTarget(); const seen = []; t.addEventListener('a', (e) => { seen.push(1); e.stopImmediatePropagation() }); t.addEventListener('a', () => seen.push(2)); t.dispatchEvent(new Event('a')); return seen })()`,
    `[new DOMException('m', 'AbortError').name, new DOMException('m', 'AbortError').code, new DOMException('m') instanceof Error]`,
  ])
})

test('streams', async () => {
  const drain = 'async (s) => { const all = []; for await (const c of s) all.push(c); return all }'
  await same([
    `(${drain})(ReadableStream.from([1, 2, 3]))`, `(${drain})(ReadableStream.from((async function* () { yield 'a'; yield 'b' })()))`,
    `(${drain})(new ReadableStream({ start: (c) => { c.enqueue(1); c.enqueue(2); c.close() } }))`,
    `(async () => { let n = 0; return (${drain})(new ReadableStream({ pull: (c) => { c.enqueue(++n); if (n === 3) c.close() } })) })()`,
    `(${drain})(new ReadableStream({ start: (c) => c.error(new RangeError('x')) }))`, `(${drain})(new ReadableStream({ pull: () => { throw new RangeError('x') } }))`,
    `(async () => { const [a, b] = ReadableStream.from([1, 2]).tee(); return [await (${drain})(a), await (${drain})(b)] })()`,
    `(${drain})(ReadableStream.from([1, 2, 3]).pipeThrough(new TransformStream({ transform: (x, c) => { c.enqueue(x * 2); c.enqueue('-') }, flush: (c) => c.enqueue('end') })))`,
    `(${drain})(ReadableStream.from(['a', 'b']).pipeThrough(new TransformStream()))`, `(${drain})(ReadableStream.from([1]).pipeThrough(new TransformStream({ transform: () => { throw new RangeError('x') } })))`,
    `(async () => { const seen = []; await ReadableStream.from([1, 2]).pipeTo(new WritableStream({ write: (x) => { seen.push(x) }, close: () => { seen.push('closed') } })); return seen })()`,
    `ReadableStream.from([1, 2]).pipeTo(new WritableStream({ write: () => { throw new RangeError('x') } }))`,
    `(async () => { let why; const s = new ReadableStream({ pull: (c) => c.enqueue(1), cancel: (r) => { why = r } }); await s.pipeTo(new WritableStream({ write: () => { throw 'broke' } })).catch(() => {}); return why })()`,
    `(async () => { let why; await new ReadableStream({ pull: () => { throw 'source' } }).pipeTo(new WritableStream({ abort: (r) => { why = r } })).catch(() => {}); return why })()`,
    `(async () => { const seen = []; const w = new WritableStream({ write: async (x) => { await 0; seen.push(x) } }).getWriter(); w.write(1); w.write(2); const d = w.desiredSize; await w.close(); return [seen, d] })()`,
    `(async () => { const w = new WritableStream().getWriter(); await w.close(); await w.write(1) })()`, `(async () => { const w = new WritableStream().getWriter(); await w.abort(new RangeError('x')); await w.write(1) })()`,
    `(async () => { let why; const s = new ReadableStream({ cancel: (r) => { why = r } }); await s.cancel('enough'); return [why, await s.getReader().read()] })()`,
    `(async () => { const s = ReadableStream.from([1, 2]); for await (const x of s) break; return [s.locked, await s.getReader().read()] })()`,
    `(() => { const s = new ReadableStream(); s.getReader(); s.getReader() })()`, `(async () => { const s = new ReadableStream(); s.getReader(); await s.cancel() })()`,
    `(async () => { const r = ReadableStream.from([1]).getReader(); const one = await r.read(); const two = await r.read(); await r.closed; return [one, two] })()`,
    `(async () => { const s = ReadableStream.from([1, 2]); const r = s.getReader(); await r.read(); r.releaseLock(); return [s.locked, await s.getReader().read()] })()`,
    `(() => { let c; new ReadableStream({ start: (k) => { c = k } }, { highWaterMark: 3 }); c.enqueue(1); const size = c.desiredSize; c.close(); let error; try { c.enqueue(2) } catch (e) { error = e.name } return [size, error] })()`,
    `(() => { let c; new ReadableStream({ start: (k) => { c = k } }, new ByteLengthQueuingStrategy({ highWaterMark: 10 })); c.enqueue(new Uint8Array(4)); return c.desiredSize })()`,
    `new ReadableStream({}, { highWaterMark: -1 })`, `new ReadableStream({ type: 'nonsense' })`, `new ReadableStream(null)`,
    `(async () => { const s = new ReadableStream({ type: 'bytes', pull: (c) => { c.enqueue(new Uint8Array([1, 2, 3])) ; c.close() } }); const r = s.getReader({ mode: 'byob' }); const a = await r.read(new Uint8Array(2)); const b = await r.read(new Uint8Array(2)); const c = await r.read(new Uint8Array(2)); return [[...a.value], [...b.value], c.done] })()`,
    `(async () => { const c = new AbortController(); const p = new ReadableStream().pipeTo(new WritableStream(), { signal: c.signal }); c.abort(new RangeError('x')); await p })()`,
  ])
})

test('timers and microtasks', async () => {
  await same([
    `new Promise((resolve) => { const seen = []; setTimeout((a, b) => { seen.push(a + b) }, 1, 'x', 'y'); queueMicrotask(() => seen.push('micro')); Promise.resolve().then(() => seen.push('then')); setTimeout(() => resolve(seen), 20) })`,
    `new Promise((resolve) => { let n = 0; const t = setInterval(() => { if (++n === 3) { clearInterval(t); resolve(n) } }, 1) })`,
    `new Promise((resolve) => { const t = setTimeout(() => resolve('fired'), 1); clearTimeout(t); setTimeout(() => resolve('not fired'), 20) })`,
    `new Promise((resolve) => { const t = setTimeout(() => resolve('fired'), 1); clearTimeout(+t); setTimeout(() => resolve('not fired'), 20) })`,
    `new Promise((resolve) => setImmediate(resolve, 'immediate'))`, `setTimeout('text')`, `typeof setTimeout(() => {}, 1).unref`,
    `(async () => { const a = performance.now(); await new Promise((r) => setTimeout(r, 5)); const b = performance.now() - a; return b > 3 && b < 5000 })()`,
    `Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000`, `new Date(0).getTimezoneOffset() === 0 || new Date(0).getTimezoneOffset() !== 0`,
    `new Promise((resolve) => process.nextTick(resolve, 'tick'))`, `typeof process.hrtime.bigint()`, `process.hrtime().length`, `typeof process.env.PATH`, `global === globalThis`,
  ])
})
