/**
 * Goal: the query gives what SQL would give, however the rows are divided among mappers and reducers.
 * Method: generated rows; the same sums by one loop over all of them.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mapRows, readGroups, reduceGroups, writeGroups } from './query.ts'
import { generateVisits } from './visits.ts'

const files = [1, 2, 3, 4].map((seed) => generateVisits(500, seed))

function query(prefixLength: number): Map<string, number> {
  const sums = new Map<string, number>()
  for (const line of files.join('').trimEnd().split('\n')) {
    const [ip, , , revenue] = line.split(',') as [string, string, string, string]
    const group = ip.substring(0, prefixLength)
    sums.set(group, (sums.get(group) ?? 0) + Math.round(Number(revenue) * 1e6))
  }
  return sums
}

test('sums per group are those of one loop over all rows, whatever the number of reducers (Q1, Q2)', () => {
  for (const [prefixLength, reducers] of [[2, 1], [8, 3], [8, 10], [12, 7]] as const) {
    const mapped = files.map((file) => mapRows(file, prefixLength, reducers).partitions.map(writeGroups))
    const reduced = Array.from({ length: reducers }, (_, reducer) => reduceGroups(mapped.toReversed().map((parts) => readGroups(parts[reducer]!))))
    const all = reduced.flatMap((groups) => [...groups])
    const expected = query(prefixLength)
    assert.equal(all.length, expected.size)
    assert.deepEqual(new Map(all.sort()), new Map([...expected].sort()))
  }
})

test('rows are the same for the same seed, have nine fields, and others for another', () => {
  assert.equal(generateVisits(500, 1), files[0])
  assert.notEqual(files[0], files[1])
  for (const line of files[0]!.trimEnd().split('\n')) assert.match(line, /^(\d{1,3}\.){3}\d{1,3},http:\/\/[^,]+,\d{4}-\d\d-\d\d,0\.\d{6},[^,]+,[A-Z]{3},[a-z]{3}-[A-Z]{3},[a-z]+,\d+$/)
})

test('what is no row, or no group, is refused with its text', () => {
  const broken = ['1.2.3.4,url', '1.2.3.4,url,1990-01-01,much', '1.2.3.4,url,1990-01-01,much,a', '1.2.3.4,url,1990-01-01,,a', '1.2.3.4\n5.6.7.8,url,1990-01-01,0.5,a']
  for (const text of broken) assert.throws(() => mapRows(text, 8, 2), /no adRevenue: 1\.2\.3\.4/)
  for (const text of ['no comma', 'a,1.5', 'a,', 'a,99999999999999999999']) assert.throws(() => readGroups(text), /no group and its sum/)
})
