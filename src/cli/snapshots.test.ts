/**
 * Goal: what is known of a snapshot, and of a start from one, is said in words that a person can check. Method: the texts of
 * known values; the network is somebody else's test (platform.test.ts).
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InvocationRecord } from '#contract/invocation-record.ts'
import type { SnapshotDetails } from './api-types.ts'
import { detailsText } from './commands/snapshots.ts'
import { restoreText, summary } from './record-summary.ts'

const HOUR_MS = 3_600_000
const takenAtMs = Date.UTC(2026, 10, 21, 4, 0)

const bare: SnapshotDetails = {
  function: 'hello', revision: 3, imageBytes: 32 * 1024 * 1024, storedBytes: 2_097_152, diskBytes: 2_200_000, takenAtMs, answered: 3, lastUsedMs: takenAtMs + HOUR_MS, inUse: 1, verified: false,
}

test('a snapshot without a recording says that it has none', () => {
  const text = detailsText(bare, takenAtMs + 3 * HOUR_MS)
  assert.match(text, /^name {8}hello@3$/m)
  assert.match(text, /33\.6 MB of memory, 2\.10 MB of it not zero/)
  assert.match(text, /taken {7}2026-11-21 04:00:00\.000, 3 h ago/)
  assert.match(text, /2 h ago; 1 instance holds it now/)
  assert.match(text, /recorded {4}no/)
  assert.doesNotMatch(text, /contiguity|footprint/)
})

test('a recorded one tells its pages, runs, contiguity and footprint', () => {
  const text = detailsText({
    ...bare,
    recording: { recordedAtMs: takenAtMs, pagesRecorded: 130, pagesZero: 30, pagesPrefetched: 100, runs: 40, order: 'page', encoding: 'stored' },
    contiguity: { runs: 44, meanRunPages: 2.95, longestRunPages: 12, runsByPowerOfTwo: [20, 10, 7, 0, 7] },
    footprint: { storedBytes: 2_097_152, touchedBytes: 130 * 4096, touchedZeroBytes: 30 * 4096, touchedShare: 0.24 },
  }, takenAtMs)
  assert.match(text, /130 touched, 30 of them zero/)
  assert.match(text, /100 pages, 410 KB in 40 runs by page, stored/)
  assert.match(text, /532 KB touched of 2\.22 MB: 24\.0 %/)
  assert.match(text, /3\.0 pages a run on average, 12 the longest/)
  assert.match(text, /runs by length: 1: 20, 2: 10, 3–4: 7, 9–16: 7$/m)
})

test('an invocation that was restored says how, and what its prefetch reached', () => {
  const record = {
    outcome: 'ok', status: 200, start: 'snapshot', totalUs: 17_000, queueUs: 0, placementUs: 0, sandboxUs: 15_000, initUs: 0, runUs: 2000, cpuUs: 1000, memoryPeakMb: 3, memoryLimitMb: 128, bytesIn: 1, bytesOut: 2,
    cost: 0, snapshot: { mode: 'reap', restoreUs: 15_000, pagesPrefetched: 1965, pagesFaulted: 2, bytesRead: 8_056_832, readUs: 14_000 },
  } as unknown as InvocationRecord
  assert.equal(restoreText(record), 'restored in 15.0 ms (reap): pages 1965 prefetched, 2 faulted; read 8.06 MB, prefetch at 575 MB/s')
  assert.match(summary(record), /^200 snapshot 17\.0 ms \(sandbox 15\.0 ms, run 2\.00 ms\).*\nrestored in/)
  assert.equal(restoreText({ ...record, snapshot: { mode: 'copy', restoreUs: 40 } }), 'restored in 0.04 ms (copy)')
  assert.equal(restoreText({ ...record, snapshot: { mode: 'lazy', restoreUs: 40, pagesPrefetched: 0, pagesFaulted: 0, bytesRead: 0, pagesRecorded: 125 } }), 'restored in 0.04 ms (lazy): pages 125 recorded')
  const { snapshot: _, ...warm } = record
  assert.equal(restoreText(warm as InvocationRecord), undefined)
})
