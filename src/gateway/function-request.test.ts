/**
 * Goal: whatever a client sends, it is either taken for one function with its own path, or refused; and the function sees
 * the client's headers, without what is not its business.
 *
 * Method: fast-check for addresses; a real server and raw requests for headers and bodies.
 */
import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { describe, test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { PlatformError } from '#contract/errors.ts'
import { INLINE_BYTES_MAX } from '#contract/frames.ts'
import { NAME_PATTERN } from '#contract/function-config.ts'
import { bodyKind, collectBody, functionHeaders, parseFunctionPath } from './function-request.ts'
import { serve } from './http.fake.ts'

describe('an address', () => {
  test('names a function, and the rest is the function\'s own path', () => {
    for (const [url, path] of [
      ['/fn/n/f', '/'], ['/fn/n/f/', '/'], ['/fn/n/f/a/b', '/a/b'], ['/fn/n/f?x=1', '/?x=1'], ['/fn/n/f/?x=/y', '/?x=/y'], ['/fn/n/f//a/../b', '//a/../b'], ['/fn/n/f/%2e%2e', '/%2e%2e'],
    ] as const) {
      assert.deepEqual(parseFunctionPath(url), { namespace: 'n', name: 'f', prefix: '/fn/n/f', path })
    }
    const longest = 'a'.repeat(64)
    assert.deepEqual(parseFunctionPath(`/fn/${longest}/${longest}`), { namespace: longest, name: longest, prefix: `/fn/${longest}/${longest}`, path: '/' })
  })

  test('without two names is refused, saying what an address looks like', () => {
    for (const url of ['/fn/', '/fn/n', '/fn//f', '/fn/n/', '/fn/n//f', '/fn/n?/f', '/fn/-n/f', '/fn/n/.f', '/fn/n%2ff/x', `/fn/n/${'a'.repeat(65)}`, '/fn/n/f\u0000']) {
      assert.throws(() => parseFunctionPath(url), { code: 'NAME_INVALID' }, url)
    }
    assert.throws(() => parseFunctionPath(`/fn/${'n'.repeat(100_000)}`), (error: PlatformError) => error.message.length < 300)
  })

  test('is taken apart the same whether it came before or not, however many functions there are', () => {
    const names = Array.from({ length: 2000 }, (_, index) => index.toString(36))
    for (let round = 0; round < 2; round++) {
      for (const name of names) {
        for (const rest of ['', '/', `/${name}/x?y=/z`, '?q']) {
          const path = rest.startsWith('/') ? rest : `/${rest}`
          assert.deepEqual(parseFunctionPath(`/fn/n-${name}/f${name}${rest}`), { namespace: `n-${name}`, name: `f${name}`, prefix: `/fn/n-${name}/f${name}`, path })
        }
      }
    }
    // These two have the same hash.
    assert.deepEqual([parseFunctionPath('/fn/n/Aa').name, parseFunctionPath('/fn/n/BB').name, parseFunctionPath('/fn/n/Aa').name], ['Aa', 'BB', 'Aa'])
  })

  test('of any text is a function\'s or NAME_INVALID (fuzz)', () => {
    const part = fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom('/', '//', '?', '#', '%2f', '..', 'n', 'f-1', '\\', '\u0000', 'é', '\ud800'))
    fc.assert(fc.property(fc.array(part, { maxLength: 10 }), (parts) => {
      const url = `/fn/${parts.join('')}`
      try {
        const { namespace, name, path } = parseFunctionPath(url)
        assert(NAME_PATTERN.test(namespace) && NAME_PATTERN.test(name) && path.startsWith('/'))
        assert(url === `/fn/${namespace}/${name}${path}` || url === `/fn/${namespace}/${name}${path.slice(1)}`, 'nothing is lost')
      } catch (error) {
        assert(error instanceof PlatformError && error.code === 'NAME_INVALID', String(error))
      }
    }), { numRuns: 2000 })
  })
})

/** What the function would see of a raw request. */
async function seen(context: TestContext, lines: readonly string[], keyed: boolean): Promise<string[]> {
  let list: readonly string[] = []
  const server = await serve(context, (request, response) => {
    const headers = functionHeaders(request, keyed, '/fn/n/f')
    assert.deepEqual(JSON.parse(headers.json), headers.list)
    list = headers.list
    response.end()
  })
  await server.raw(['GET /fn/n/f HTTP/1.1', ...lines, ...(lines.some((line) => /^connection:/i.test(line)) ? [] : ['Connection: close']), '', ''].join('\r\n'))
  const pairs: string[] = []
  for (let index = 0; index < list.length; index += 2) pairs.push(`${list[index]}: ${list[index + 1]}`)
  return pairs
}

const forwarded = ['x-forwarded-for: 127.0.0.1', 'x-forwarded-prefix: /fn/n/f']

describe('headers', () => {
  test('come in lower case, in order, repeated ones as often as they were sent', async (context) => {
    assert.deepEqual(await seen(context, ['Host: h', 'X-B: 1', 'x-a: 2', 'X-B: 3'], false), ['host: h', 'x-b: 1', 'x-a: 2', 'x-b: 3', ...forwarded])
  })

  test('do not bring the platform\'s key to the function; a public one gets its caller\'s', async (context) => {
    const lines = ['Host: h', 'Authorization: Bearer secret']
    assert.deepEqual(await seen(context, lines, true), ['host: h', ...forwarded])
    assert.deepEqual(await seen(context, lines, false), ['host: h', 'authorization: Bearer secret', ...forwarded])
    assert.deepEqual(await seen(context, lines, true), ['host: h', ...forwarded], 'also when it was just passed on to another')
  })

  test('of the connection, or declared to be so, stay here', async (context) => {
    assert.deepEqual(await seen(context, ['Host: h', 'Connection: close, X-Mine', 'X-Mine: 1', 'TE: trailers', 'Keep-Alive: 5', 'Proxy-Authorization: x', 'X-Kept: 1'], false), ['host: h', 'x-kept: 1', ...forwarded])
  })

  test('cannot say where a request comes from', async (context) => {
    assert.deepEqual(await seen(context, ['Host: h', 'X-Forwarded-For: 8.8.8.8', 'x-forwarded-PREFIX: /evil'], false), ['host: h', ...forwarded])
  })

  test('of any names and values are those of this request, however many came before (fuzz)', async (context) => {
    const token = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-]{0,6}$/).filter((name) => !/^(connection|host|te|trailer|upgrade|expect)$/i.test(name))
    const headers = fc.array(fc.tuple(token, fc.stringMatching(/^[!-~]{0,5}$/)), { maxLength: 5 })
    let pairs: readonly (readonly [string, string])[] = []
    let keyed = false
    let wrong: unknown
    const server = await serve(context, (request, response) => {
      const expected = [['host', 'h'] as const, ...pairs].flatMap(([name, value]) => [name.toLowerCase(), value])
      const { list } = functionHeaders(request, keyed, '/fn/n/f')
      try {
        assert.deepEqual(list.slice(0, -4), expected)
      } catch (error) {
        wrong ??= error
      }
      response.end()
    })
    await fc.assert(fc.asyncProperty(headers, fc.boolean(), async (drawn, isKeyed) => {
      pairs = drawn
      keyed = isKeyed
      await server.raw(['GET / HTTP/1.1', 'host: h', ...drawn.map(([name, value]) => `${name}: ${value}`), 'Connection: close', '', ''].join('\r\n'))
      if (wrong !== undefined) throw wrong
    }), { numRuns: 100 })
  })
})

describe('a body', () => {
  const of = (headers: Record<string, string>): ReturnType<typeof bodyKind> => bodyKind({ headers } as unknown as IncomingMessage)

  test('is none, small enough for one frame, or a stream', () => {
    assert.deepEqual([of({}), of({ 'content-length': '0' })], ['none', 'none'])
    assert.deepEqual([of({ 'content-length': '1' }), of({ 'content-length': String(INLINE_BYTES_MAX) })], ['small', 'small'])
    assert.deepEqual([of({ 'content-length': String(INLINE_BYTES_MAX + 1) }), of({ 'transfer-encoding': 'chunked' })], ['stream', 'stream'])
  })

  test('that is small is collected whole, however it is cut; not at all when it breaks off', async (context) => {
    const bodies: string[] = []
    const closed = Promise.withResolvers<void>()
    const server = await serve(context, (request, response) => {
      collectBody(request, (body) => {
        bodies.push(body.toString())
        response.end()
      })
      request.on('close', () => request.complete || closed.resolve())
    })
    await server.ask('/', { method: 'POST', body: 'at once' })
    const cut = server.connect()
    cut.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\nconnection: close\r\n\r\nab')
    await new Promise((resolve) => setImmediate(resolve))
    cut.write('cdef')
    await new Promise((resolve) => cut.resume().on('close', resolve))
    const broken = server.connect()
    broken.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nab', () => broken.destroy())
    await closed.promise
    assert.deepEqual(bodies, ['at once', 'abcdef'])
  })
})
