/**
 * Goal: numbers and times read well and are read well; a plan to install is made only where it can work.
 *
 * Method: tables of value and text.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { exitCodeFor } from './exit-codes.ts'
import { bytes, duration, money, parseSince, parseWhole, table } from './format.ts'
import { parseAssignments, parseEnvironmentFile } from './input.ts'
import { planSetup, systemPackages } from './system-packages.ts'

describe('format', () => {
  test('durations and sizes have three figures', () => {
    assert.deepEqual([840, 12_345, 1_500_000, 90_000_000].map(duration), ['0.84 ms', '12.3 ms', '1.50 s', '1.5 min'])
    assert.deepEqual([12, 1234, 5_600_000, 7e9].map(bytes), ['12 B', '1.23 KB', '5.60 MB', '7.00 GB'])
  })

  test('small amounts of money keep two figures that say something', () => {
    assert.deepEqual([0, 0.00000212345, 1.5].map(money), ['0', '0.0000021', '1.5000'])
  })

  test('numbers stand right in a table, words left', () => {
    assert.equal(table(['NAME', 'MS'], [['a', '5 ms'], ['long', '15 ms']]), 'NAME     MS\na      5 ms\nlong  15 ms')
  })

  test('"since" is how long ago, or a time', () => {
    assert.deepEqual([parseSince('90', 100_000), parseSince('1.5m', 100_000), parseSince('1970-01-01T00:00:01Z', 0)], [10_000, 10_000, 1000])
    assert.throws(() => parseSince('soon', 0), { code: 'INPUT_INVALID' })
  })

  test('a whole number is in its range, or the message names option, value and range', () => {
    assert.equal(parseWhole('--limit', '10', 1, 100), 10)
    for (const text of ['0', '101', '1.5', 'x', '']) assert.throws(() => parseWhole('--limit', text, 1, 100), /--limit is .* from 1 to 100/)
  })
})

describe('input', () => {
  test('assignments keep everything after the first "="', () => {
    assert.deepEqual(parseAssignments('--env', ['A=1=2', 'B=']), { A: '1=2', B: '' })
  })

  test('an environment file knows comments, quotes and export', () => {
    assert.deepEqual(parseEnvironmentFile('# c\nA=1\nexport B="x y"\nC=v # why\n\nnot a line\nD=\'#\'\n'), { A: '1', B: 'x y', C: 'v', D: '#' })
  })
})

describe('exit codes', () => {
  test('say who has to change something', () => {
    assert.deepEqual(['FUNCTION_THREW', 'INPUT_INVALID', 'FUNCTION_NOT_FOUND', 'KEY_INVALID', 'SERVER_UNREACHABLE', 'RATE_EXCEEDED', 'INTERNAL', 'UNHEARD_OF'].map(exitCodeFor), [1, 2, 3, 4, 5, 6, 5, 5])
  })
})

describe('setup', () => {
  const missing = systemPackages.slice(0, 1)
  test('installs only as root, with apt, unless refused', () => {
    assert.equal(planSetup({ missing, root: true, apt: true, refused: false }).action, 'install')
    for (const facts of [{ root: false, apt: true, refused: false }, { root: true, apt: false, refused: false }, { root: true, apt: true, refused: true }]) assert.equal(planSetup({ missing, ...facts }).action, 'say')
    assert.equal(planSetup({ missing: [], root: true, apt: true, refused: false }).action, 'nothing')
  })
})
