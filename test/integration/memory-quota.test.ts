/**
 * Goal: the instances of a namespace have no more memory than its quota; who cannot wait is told, and what is idle gives way.
 *
 * Method: a namespace with room for two instances, and functions that the test keeps busy.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hello, waits } from '../kit/functions.ts'
import { assertError } from '../kit/http.ts'
import type { Answer, SendOptions } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'

describe('the memory quota of a namespace', () => {
  test('refuses an instance that has no room, and ends an idle one for it', async () => {
    await using platform = await startTestPlatform()
    const { key } = (await platform.send('/v1/namespaces', { method: 'POST', body: JSON.stringify({ name: 'small', quotas: { memoryMb: 300 } }) })).json<{ key: string }>()
    const as = (path: string, options: SendOptions = {}): Promise<Answer> => platform.send(path, { ...options, headers: { authorization: `Bearer ${key}`, ...options.headers } })
    for (const [name, { filename, text }] of Object.entries({ waits, hello, other: hello })) {
      const deployed = await as(`/v1/functions/${name}`, { method: 'PUT', body: JSON.stringify({ source: { filename, text }, memoryMb: 150 }) })
      assert.equal(deployed.status, 201, deployed.text)
    }
    const busy = as('/fn/small/waits', { method: 'POST', body: '{"ms":1500}' })
    await until(async () => (await as('/v1/functions/waits')).json().instances.busy === 1, 'it is busy')
    assert.equal((await as('/fn/small/hello')).status, 200)
    // Idle by now: it gives way.
    assert.equal((await as('/fn/small/other')).status, 200)
    await until(async () => (await as('/v1/functions/hello')).json().instances.ready === 0, 'the idle one has gone')
    // With less than what is busy, ending all that is idle is not enough.
    const quota = await platform.send('/v1/namespaces/small/quotas', { method: 'PUT', body: '{"memoryMb":150}' })
    assert.equal(quota.status, 200, quota.text)
    const refused = await as('/fn/small/hello')
    const error = assertError(refused, 'MEMORY_EXCEEDED', /150 MB/)
    assert.deepEqual([error.details?.['limit'], error.details?.['neededMb'], refused.headers['retry-after']], [150, 150, '1'])
    assert.equal((await busy).status, 200)
  })
})
