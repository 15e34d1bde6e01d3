/**
 * Goal: what a caller says by a colour reaches the balancer from everywhere, and invocations of one colour share an instance; one that is none is refused.
 *
 * Method: a function with four instances that answers with its instance's name, asked over HTTP, by the API, later, and from Node and Python functions. The
 * instances are there before, so that a colour has one place.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { COLOR_LENGTH_MAX } from '#contract/color.ts'
import { assertError } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { TestPlatform } from '../kit/platform.ts'

const INSTANCES = 4
const NAMED = `
  import { context } from 'skep'
  export const main = () => ({ instance: context().instance })
`
const NODE_CALLER = `
  import { invoke, invokeAll, invokeAsync, fetchFunction } from 'skep'
  export async function main({ how, color }: any) {
    const options = { color }
    try {
      if (how === 'async') return await invokeAsync('named', {}, options)
      if (how === 'fetch') return await (await fetchFunction('named', '/', { color })).json()
      if (how === 'all') return { all: await invokeAll('named', [1, 2, 3], { ...options, concurrency: 1 }) }
      return await invoke('named', {}, options)
    } catch (error: any) {
      return { code: error.code, message: error.message }
    }
  }
`
const PYTHON_CALLER = `
import skep
def main(params):
    try:
        if params['how'] == 'async':
            return {'id': skep.invoke_async('named', {}, color=params['color'])}
        if params['how'] == 'all':
            return {'all': skep.invoke_all('named', [1, 2, 3], concurrency=1, color=params['color'])}
        return skep.invoke('named', {}, color=params['color'])
    except skep.SkepError as error:
        return {'code': error.code, 'message': error.message}
`
const PYTHON_ASYNC_CALLER = `
import skep
async def main(params):
    return await skep.ainvoke('named', {}, color=params['color'])
`

const colors = Array.from({ length: 24 }, (_, index) => `user-${index}`)

describe('a colour', () => {
  let platform: TestPlatform
  /** Which instance is a colour's. */
  const places = new Map<string, string>()

  before(async () => {
    platform = await startTestPlatform()
    await platform.deployText('named', 'named.ts', NAMED, { instancesMin: INSTANCES })
    await platform.deployText('node-caller', 'caller.ts', NODE_CALLER)
    await platform.deployText('python-caller', 'caller.py', PYTHON_CALLER)
    await platform.deployText('python-async-caller', 'caller.py', PYTHON_ASYNC_CALLER)
    await until(async () => new RegExp(`^skep_instances\\{state="ready"\\} ${INSTANCES}$`, 'm').test((await platform.send('/metrics')).text), `${INSTANCES} instances are ready`)
    for (const color of colors) places.set(color, await byHeader(color))
  })
  after(() => platform[Symbol.asyncDispose]())

  async function byHeader(color: string): Promise<string> {
    const answer = await platform.fn('named', { headers: { 'x-skep-color': color } })
    assert.equal(answer.status, 200, answer.text)
    return answer.json().instance
  }

  test('leads to the same instance every time, and different ones to different instances', async () => {
    for (let round = 0; round < 3; round++) for (const color of colors) assert.equal(await byHeader(color), places.get(color), color)
    assert(new Set(places.values()).size >= 3, `24 colours on ${new Set(places.values()).size} of ${INSTANCES} instances`)
  })

  test('leads there from the API too, and when the work is done later', async () => {
    for (const color of colors.slice(0, 6)) {
      const headers = { 'x-skep-color': color }
      assert.equal((await platform.invoke('named', {}, headers)).json().instance, places.get(color))
      const { id } = (await platform.invoke('named', {}, { ...headers, prefer: 'respond-async' })).json()
      assert.equal((await platform.record(id)).instance, places.get(color))
    }
  })

  for (const caller of ['node-caller', 'python-caller', 'python-async-caller']) {
    test(`leads there from ${caller}`, async () => {
      for (const color of colors.slice(0, 6)) {
        assert.equal((await platform.invoke(caller, { how: 'plain', color })).json().instance, places.get(color), color)
        if (caller === 'python-async-caller') continue
        const { all } = (await platform.invoke(caller, { how: 'all', color })).json()
        assert.deepEqual(all, Array(3).fill({ instance: places.get(color) }))
        const { id } = (await platform.invoke(caller, { how: 'async', color })).json()
        assert.equal((await platform.record(id)).instance, places.get(color))
        if (caller === 'node-caller') assert.equal((await platform.invoke(caller, { how: 'fetch', color })).json().instance, places.get(color))
      }
    })
  }

  test('that is too long is refused with the limit, wherever it comes from, and counts as nothing under way', async () => {
    const color = 'x'.repeat(COLOR_LENGTH_MAX + 1)
    assertError(await platform.fn('named', { headers: { 'x-skep-color': color } }), 'INPUT_INVALID', /128/)
    assertError(await platform.invoke('named', {}, { 'x-skep-color': color, prefer: 'respond-async' }), 'INPUT_INVALID', /128/)
    for (const caller of ['node-caller', 'python-caller']) {
      for (const wrong of [color, 5]) {
        const answer = (await platform.invoke(caller, { how: 'plain', color: wrong })).json()
        assert.equal(answer.code, 'INPUT_INVALID', JSON.stringify(answer))
      }
    }
    assert.equal(await byHeader('x'.repeat(COLOR_LENGTH_MAX)), await byHeader('x'.repeat(COLOR_LENGTH_MAX)))
  })
})
