/**
 * Goal: instances of every kind start and answer, and one that cannot says so in words for the function's owner.
 *
 * Method: a real worker with real sandboxes.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, test } from 'node:test'
import { PlatformError } from '#contract/errors.ts'
import { pythonRuntime } from './sandbox/runtime-mounts.ts'
import { workerGround, workerSkip } from './worker.harness.ts'

const PYTHON_SERVER = `#!/usr/bin/env python3
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get('content-length', 0)))
        self.send_response(201)
        self.end_headers()
        self.wfile.write(b'python got ' + body)
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
`
const SHELL_SERVER_MISSES = '#!/no/such/interpreter\n'
const HELLO = "export const main = (params) => ({ got: params })"

describe('a worker starts an instance', { skip: workerSkip, timeout: 60_000 }, () => {
  test('of kind command, with the programs of the host', async (context) => {
    const { revision, start, send } = workerGround(context)
    const script = readFileSync(fileURLToPath(new URL('../../examples/command/top-words.sh', import.meta.url)), 'utf8')
    const instance = await start(revision({ 'top-words.sh': script }, { kind: 'command' }))
    const answer = await send(instance, { kind: 'http', path: '/?top=2', body: Buffer.from('b a b c b a') })
    assert.equal(answer.error, undefined)
    assert.deepEqual([answer.status, answer.body.toString().replaceAll(/ +/g, ' ')], [200, ' 3 b\n 2 a\n'])
  })

  test('of kind http, with a server in another language', async (context) => {
    if (!(await hasPython())) return context.skip('there is no python3 here')
    const { revision, start, send } = workerGround(context)
    const instance = await start(revision({ 'server.py': PYTHON_SERVER }, { kind: 'http' }))
    const answer = await send(instance, { kind: 'http', body: Buffer.from('this') })
    assert.deepEqual([answer.status, answer.body.toString()], [201, 'python got this'])
  })

  test('of kind http, and says why when it cannot', async (context) => {
    const { revision, start, worker } = workerGround(context)
    await assert.rejects(start(revision({ server: SHELL_SERVER_MISSES }, { kind: 'http' })), { code: 'CODE_INVALID', message: /interpreter/ })
    assert.equal(worker.instances().size, 0)
  })

  for (const from of ['a stem cell', 'a new sandbox'] as const) {
    test(`from ${from}, unless the runtime does not fit its memory: then its owner is told how much it needs`, async (context) => {
      const { worker, revision, start, send, warnings, limitsMemory } = workerGround(context, from === 'a stem cell' ? { stemCells: { node: 1 } } : {})
      if (!limitsMemory) return context.skip('this host does not limit memory')
      worker.warmUp()
      await worker.stemCellsReady()
      // The smallest that a function can be given: whether the runtime fits depends on what else has its pages in memory.
      const smallest = await start(revision({ 'index.js': HELLO }, { memoryMb: 16 })).then(async (instance) => (await send(instance, { body: Buffer.from('{}') })).error, PlatformError.from)
      if (smallest !== undefined) assert.equal(smallest.code, 'FUNCTION_OUT_OF_MEMORY', smallest.message)

      await worker.stemCellsReady()
      const tiny = revision({ 'index.js': HELLO }, {})
      const error = await start({ ...tiny, config: { ...tiny.config, memoryMb: 3 } }).then(() => undefined, PlatformError.from)
      assert.ok(error !== undefined)
      assert.equal(error.code, 'FUNCTION_OUT_OF_MEMORY', error.message)
      assert.match(error.message, /3 MB of memory.* --memory/)
      assert.deepEqual(warnings, [])
    })
  }
})

async function hasPython(): Promise<boolean> {
  return pythonRuntime().then(() => true, () => false)
}
