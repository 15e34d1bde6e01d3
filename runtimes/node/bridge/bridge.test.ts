/**
 * Goal: commands and HTTP servers that know nothing of Skep serve invocations, with bodies that stream both ways.
 * Method: the real bridge as a child process, with shell scripts and a small HTTP server as the user's programs.
 */
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { FrameFlag, FrameType } from '../../../src/contract/frames.ts'
import { bridgeRuntime, RuntimePeer } from '../../../test/kit/runtime-peer.ts'

async function command(script: string, environment: Record<string, string> = {}, args: string[] = []): Promise<RuntimePeer> {
  const peer = new RuntimePeer({ args: [bridgeRuntime, 'command'], files: { run: `#!/bin/sh\n${script}\n` } })
  assert.equal((await peer.hello()).runtime, 'command')
  assert.equal((await peer.init({ entry: 'run', environment, args })).shape, 'command')
  return peer
}

test('a command reads its input and its output is the answer', async () => {
  await using peer = await command('cat; echo "$1 $REQUEST_METHOD $SKEP_PATH $SKEP_QUERY $HTTP_X_A $OWN"; echo problem >&2', { OWN: 'mine' }, ['arg'])
  const stream = peer.open({ k: 'http', m: 'PUT', u: '/p?q=1', h: ['x-a', 'header'] }, 'in ')
  const answer = await peer.answer(stream)
  assert.deepEqual([answer.status, answer.text, answer.headers['content-type']], [200, 'in arg PUT /p q=1 header mine\n', 'text/plain; charset=utf-8'])
  assert.deepEqual(peer.logs(stream), ['stderr problem'])
})

test('a command that fails is FUNCTION_THREW with its code and last lines', async () => {
  await using peer = await command('echo "cannot go on" >&2; exit 3')
  await assert.rejects(peer.event({}), { code: 'FUNCTION_THREW', message: '"run" ended with exit code 3. Its last lines: cannot go on' })
})

test('commands run at once, stream, and the type of their output is told', async () => {
  await using peer = await command('head -c 1000000 /dev/zero', {})
  const answers = await Promise.all([peer.event(), peer.event()])
  for (const answer of answers) assert.deepEqual([answer.body.length, answer.headers['content-type']], [1_000_000, 'application/octet-stream'])
  await using typed = await command('echo "{}"', { SKEP_CONTENT_TYPE: 'application/json' })
  assert.equal((await typed.event()).headers['content-type'], 'application/json')
})

test('cancelling kills the command and its children', async () => {
  await using peer = await command('echo $$; sleep 1000 & wait')
  const stream = peer.open({ k: 'event' }, '{}')
  const pid = Number.parseInt((await peer.take((frame) => frame.stream === stream && frame.type === FrameType.data)).payload.toString())
  peer.send(FrameType.reset, 0, stream)
  await peer.take((frame) => frame.stream === stream && frame.type === FrameType.reset)
  await groupIsGone(pid)
})

/** The kernel needs a moment to bury them. */
async function groupIsGone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(-pid, 0)
      await new Promise((resolve) => setImmediate(resolve))
    } catch {
      return
    }
  }
}

test('a program that cannot be started says why', async () => {
  const files = { plain: 'text', script: '#!/no/such/interpreter\n' }
  await using peer = new RuntimePeer({ args: [bridgeRuntime, 'command'], files })
  await peer.hello()
  await peer.init({ entry: 'script' })
  await assert.rejects(peer.event(), { code: 'CODE_INVALID', message: /interpreter .* is missing/ })
  await using other = new RuntimePeer({ args: [bridgeRuntime, 'command'], files })
  await assert.rejects(other.init({ entry: 'missing' }), { code: 'CODE_INVALID', message: /no file "missing"/ })
})

const SERVER = `#!${process.execPath}
const http = require('node:http')
console.log('starting')
http.createServer((request, response) => {
  if (request.url === '/hang') { request.socket.on('close', () => console.log('closed')); console.log('hanging'); return }
  if (request.url === '/exit') process.exit(5)
  if (request.url === '/events') { response.write('one'); setTimeout(() => response.end('two'), 5); return }
  response.writeHead(201, { 'X-Method': request.method, 'X-Length': request.headers['content-length'] ?? request.headers['transfer-encoding'] ?? 'none' })
  request.pipe(response)
}).listen(process.env.PORT, '127.0.0.1')
`

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return String(port)
}

async function server(source = SERVER): Promise<RuntimePeer> {
  const peer = new RuntimePeer({ args: [bridgeRuntime, 'http'], files: { 'server.cjs': source } })
  try {
    await peer.hello()
    await peer.init({ entry: 'server.cjs', environment: { PORT: await freePort() } })
    return peer
  } catch (error) {
    await peer[Symbol.asyncDispose]()
    throw error
  }
}

test('an HTTP server is proxied, with bodies that stream both ways', async () => {
  await using peer = await server()
  const answer = await peer.http('POST', '/', { body: 'hello' })
  assert.deepEqual([answer.status, answer.text, answer.headers['x-method'], answer.headers['x-length']], [201, 'hello', 'POST', '5'])
  assert.equal((await peer.http('GET', '/')).headers['x-length'], 'none')
  assert.equal((await peer.http('HEAD', '/')).text, '')
  assert.equal((await peer.http('GET', '/events')).text, 'onetwo')
  const stream = peer.open({ k: 'http', m: 'PUT', u: '/' }, 'a', false)
  peer.send(FrameType.data, 0, stream, 'b')
  peer.send(FrameType.data, FrameFlag.end, stream, 'c')
  const streamed = await peer.answer(stream)
  assert.deepEqual([streamed.text, streamed.headers['x-length']], ['abc', 'chunked'])
})

test('cancelling closes the connection, and the end of the program ends the instance (BH1)', async () => {
  await using peer = await server()
  const stream = peer.open({ k: 'http', m: 'GET', u: '/hang' })
  await peer.take((frame) => frame.type === FrameType.log && frame.payload.includes('hanging'))
  peer.send(FrameType.reset, 0, stream)
  await peer.take((frame) => frame.type === FrameType.log && frame.payload.includes('closed'))
  peer.open({ k: 'http', m: 'GET', u: '/exit' })
  assert.equal(await peer.exited, 5)
})

test('a server that ends before it listens is INIT_FAILED with its last lines', async () => {
  await assert.rejects(server(`#!${process.execPath}\nconsole.error('no config'); process.exit(2)`), { code: 'INIT_FAILED', message: /exit code 2 .*no config/ })
})

test('a bridge that ends takes its programs along', async () => {
  const peer = await command('echo $$; sleep 1000')
  const stream = peer.open({ k: 'event' }, '{}')
  const pid = Number.parseInt((await peer.take((frame) => frame.stream === stream && frame.type === FrameType.data)).payload.toString())
  await peer[Symbol.asyncDispose]()
  await groupIsGone(pid)
})
