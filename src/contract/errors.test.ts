/**
 * Goal: the table of errors, its page for people, and the wire agree.
 *
 * Method: docs/errors.md is read and compared with the table, entry by entry, in order.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import { PlatformError, isPlatformErrorCode, platformErrors } from './errors.ts'
import type { PlatformErrorBody } from './errors.ts'

describe('platform errors', () => {
  test('each have a paragraph in docs/errors.md, with the same fault, retry and status, in the same order', async () => {
    const page = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8')
    const sections = page.split(/^### /m).slice(1).map((section) => {
      const [code, facts, , text] = section.split('\n')
      return { code, facts, text }
    })
    const expected = Object.entries(platformErrors).map(([code, { status, fault, retry }]) => ({ code, facts: `${status} · ${fault} · retry ${retry}` }))
    assert.deepEqual(sections.map(({ code, facts }) => ({ code, facts })), expected)
    for (const { code, text } of sections) assert(text !== undefined && text.length > 40, `${code} has no paragraph`)
  })

  test('have statuses of errors, and one that suits the fault', () => {
    for (const [code, { fault, status }] of Object.entries(platformErrors)) {
      assert(status >= 400 && status < 600, code)
      if (fault === 'platform') assert(status >= 500, code)
    }
  })

  test('come out of JSON as they went in', () => {
    const error = new PlatformError('FUNCTION_THREW', 'It threw: 1 of 3.', { details: { limit: 3 }, functionStack: 'at main' })
    const again = PlatformError.fromBody(JSON.parse(JSON.stringify(error.toBody())) as PlatformErrorBody)
    assert.deepEqual(again.toBody(), { code: 'FUNCTION_THREW', message: 'It threw: 1 of 3.', stack: 'at main', details: { limit: 3 } })
    assert.deepEqual(new PlatformError('INTERNAL', 'x').toBody(), { code: 'INTERNAL', message: 'x' })
  })

  test('of a newer peer, and bugs, are INTERNAL with their text and cause', () => {
    const newer = PlatformError.fromBody({ code: 'NEW_CODE', message: 'new' } as unknown as PlatformErrorBody)
    assert.deepEqual([newer.code, newer.message], ['INTERNAL', 'new'])
    const bug = new TypeError('oops')
    assert.equal(PlatformError.from(bug).cause, bug)
    assert.equal(PlatformError.from('text').message, 'text')
    assert.equal(PlatformError.from(newer), newer)
    assert.equal(isPlatformErrorCode('toString'), false)
  })
})
