/**
 * Goal: a function calls another one as if it were a local call: results, errors, deadlines, traces and bodies of any size
 * cross, between Node and Python both ways, and recursion without an end has one.
 *
 * Method: a caller and a callee in each language on one platform; what the platform knows of both is read from their records.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { assertError } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const MB = 1024 * 1024

const NODE_CALLER = `
  import { invoke, invokeAsync, SkepError } from 'skep'
  export async function main({ name, payload, isAsync }: any) {
    try {
      return isAsync ? await invokeAsync(name, payload) : { result: await invoke(name, payload) }
    } catch (error) {
      return { code: (error as SkepError).code, message: (error as Error).message, isSkepError: error instanceof SkepError }
    }
  }
`
const PYTHON_CALLER = `
import skep
def main(params):
    try:
        if params.get('isAsync'):
            return {'id': skep.invoke_async(params['name'], params.get('payload'))}
        return {'result': skep.invoke(params['name'], params.get('payload'))}
    except skep.SkepError as error:
        return {'code': error.code, 'message': error.message, 'isSkepError': True}
`
const NODE_CALLEE = `
  import { context } from 'skep'
  export async function main(params: any) {
    if (params.throws) throw new TypeError('the callee threw')
    if (params.exits) process.exit(4)
    if (params.waits) await new Promise((resolve) => setTimeout(resolve, params.waits))
    return { got: params, remainingMs: context().remainingMs() }
  }
`
const PYTHON_CALLEE = `
import os, time, skep
def main(params):
    if params.get('throws'):
        raise TypeError('the callee threw')
    if params.get('exits'):
        os._exit(4)
    if params.get('waits'):
        time.sleep(params['waits'] / 1000)
    return {'got': params, 'remainingMs': skep.context().get_remaining_time_in_millis()}
`

describe('functions that call functions', () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
    await platform.deployText('node-caller', 'caller.ts', NODE_CALLER)
    await platform.deployText('python-caller', 'caller.py', PYTHON_CALLER)
    await platform.deployText('node-hurried', 'caller.ts', NODE_CALLER, { timeoutMs: 1500 })
    await platform.deployText('python-hurried', 'caller.py', PYTHON_CALLER, { timeoutMs: 1500 })
    await platform.deployText('node-callee', 'callee.ts', NODE_CALLEE)
    await platform.deployText('python-callee', 'callee.py', PYTHON_CALLEE)
  })
  after(() => platform[Symbol.asyncDispose]())

  for (const [caller, callee] of [['node', 'python'], ['python', 'node'], ['node', 'node'], ['python', 'python']] as const) {
    test(`${caller} calls ${callee}: the result crosses, and the records are one trace`, async () => {
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      const answer = await platform.invoke(`${caller}-caller`, { name: `${callee}-callee`, payload: { n: 1, text: 'é' } }, { traceparent })
      assert.equal(answer.status, 200, answer.text)
      assert.deepEqual(answer.json().result.got, { n: 1, text: 'é' })
      const outer = await platform.record(answer.id)
      const { invocations } = (await platform.send(`/v1/invocations?function=${callee}-callee&limit=1`)).json()
      const inner = invocations[0]
      assert.deepEqual([inner.parent, inner.origin, inner.outcome], [answer.id, 'call', 'ok'])
      assert.equal(outer.traceparent.split('-')[1], '0af7651916cd43dd8448eb211c80319c')
      assert.equal(inner.traceparent.split('-')[1], '0af7651916cd43dd8448eb211c80319c')
      assert.ok(inner.totalUs <= outer.totalUs)
    })

    test(`${caller} calls ${callee}: errors keep their code`, async () => {
      const call = async (name: string, payload: unknown): Promise<{ code: string; message: string; isSkepError: boolean }> =>
        (await platform.invoke(`${caller}-caller`, { name, payload })).json()
      const threw = await call(`${callee}-callee`, { throws: true })
      assert.deepEqual([threw.code, threw.isSkepError], ['FUNCTION_THREW', true])
      assert.match(threw.message, /the callee threw/)
      assert.equal((await call(`${callee}-callee`, { exits: true })).code, 'FUNCTION_EXITED')
      assert.equal((await call('nobody', {})).code, 'FUNCTION_NOT_FOUND')
      assert.equal((await call('elsewhere/f', {})).code, 'FORBIDDEN')
    })

    test(`${caller} calls ${callee}: the callee has the time that the caller has left`, async () => {
      const { result } = (await platform.invoke(`${caller}-hurried`, { name: `${callee}-callee`, payload: {} })).json()
      assert.ok(result.remainingMs <= 1500 && result.remainingMs > 500, `the callee has ${result.remainingMs} ms left`)
      const late = await platform.invoke(`${caller}-hurried`, { name: `${callee}-callee`, payload: { waits: 5000 } })
      // Either is told first: the callee that it is late, or the caller, who is late at the same moment.
      if (late.status === 200) assert.equal(late.json().code, 'FUNCTION_TIMEOUT')
      else assertError(late, 'FUNCTION_TIMEOUT')
      const inner = await until(async () => {
        const { invocations } = (await platform.send(`/v1/invocations?function=${callee}-callee&status=error&limit=1`)).json()
        return invocations[0]?.totalUs > 500_000 && invocations[0]?.parent === late.id ? invocations[0] : undefined
      }, 'the callee was ended')
      assert.ok(inner.totalUs < 2_000_000, `the callee ran for ${inner.totalUs} µs`)
    })

    test(`${caller} has ${callee} called later`, async () => {
      const { id } = (await platform.invoke(`${caller}-caller`, { name: `${callee}-callee`, payload: { later: 1 }, isAsync: true })).json()
      const record = await platform.record(id)
      assert.deepEqual([record.function, record.origin, record.outcome], [`${callee}-callee`, 'async', 'ok'])
    })
  }

  test('recursion without an end is stopped with CALL_DEPTH_EXCEEDED, in Node and in Python', async () => {
    await platform.deployText('node-endless', 'f.ts', `import { invoke } from 'skep'\nexport async function main() { return invoke('node-endless', {}) }`, { instancesMax: 4 })
    await platform.deployText('python-endless', 'f.py', 'import skep\nasync def main(params):\n    return await skep.ainvoke("node-endless", {})')
    for (const name of ['node-endless', 'python-endless']) {
      const answer = await platform.invoke(name, {})
      // The innermost call is refused; every caller passes it on, or throws it.
      assert.match(answer.text, /CALL_DEPTH_EXCEEDED|Functions called each other/)
      assert.ok(answer.status >= 500)
    }
    assert.equal((await platform.invoke('node-callee', {})).status, 200)
  })

  test('a body of 20 MB streams through a caller to its callee and back', async () => {
    await platform.deployText('echo', 'echo.ts', 'export default { fetch(request: Request) { return new Response(request.body) } }')
    await platform.deployText('through', 'through.ts', `import { fetchFunction } from 'skep'
      export default { fetch(request: Request) { return fetchFunction('echo', '/x', { method: 'POST', body: request.body, duplex: 'half' } as any) } }`)
    const body = Buffer.alloc(20 * MB)
    for (let at = 0; at < body.length; at += 4) body.writeUInt32LE(at, at)
    const answer = await platform.fn('through', { method: 'POST', body })
    assert.equal(answer.status, 200)
    assert.equal(answer.body.length, body.length)
    assert.equal(createHash('sha256').update(answer.body).digest('hex'), createHash('sha256').update(body).digest('hex'))
    const inner = (await platform.send('/v1/invocations?function=echo&limit=1')).json().invocations[0]
    assert.deepEqual([inner.bytesIn, inner.bytesOut], [body.length, body.length])
  })

  test('when the first caller goes away, the callee is cancelled too', async () => {
    await platform.deployText('chained', 'f.ts', `import { fetchFunction } from 'skep'
      export default { fetch(request: Request) { return fetchFunction('endless', '/') } }`)
    await platform.deployText('endless', 'f.ts', 'export default { fetch() { return new Response(new ReadableStream({ pull(controller) { controller.enqueue(new Uint8Array(65536)) } })) } }')
    const { request: cut, response } = await platform.open('chained')
    response.once('data', () => cut.destroy())
    const inner = await until(async () => (await platform.send('/v1/invocations?function=endless&status=error')).json().invocations[0], 'the callee has ended')
    assert.equal(inner.error.code, 'CANCELLED')
  })
})
