/** Goal: our examples and the original's files fall into the factors of the thesis. Method: their settings, as they stand in the files. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseExperiment } from '../experiment.ts'
import { classify, transferOf } from './classify.ts'
import type { Factor } from './classify.ts'

const plain = { Bursts: 10, BurstSizes: [1], DesiredServiceTimes: ['0ms'] }

function factorOf(settings: object): Factor {
  return classify(parseExperiment(JSON.stringify({ SubExperiments: [{ ...plain, ...settings }] }), 'x.json').SubExperiments[0]!)
}

const chain = { DataTransferChainLength: 2, PayloadLengthBytes: 1024 }
const cases: readonly (readonly [Factor, object])[] = [
  // burstiness/aws/hellopy/warm-cold-cdfs.json: titles say warm or cold, whatever the burst.
  ['warm', { Title: 'warm', IATSeconds: 0.5 }], ['bursty-warm', { Title: 'warm', BurstSizes: [500], IATSeconds: 25 }],
  ['cold', { Title: 'cold', IATSeconds: 600, FunctionMemoryMB: 2048 }], ['bursty-cold', { Title: 'cold', BurstSizes: [100], IATSeconds: 600 }],
  // imgsize-burstsize-cold-starts, without a word of ours.
  ['image-size', { Title: 'img', IATSeconds: 600, FunctionImageSizeMB: 60 }], ['cold', { IATSeconds: 600, FunctionImageSizeMB: 9 }],
  ['bursty-cold', { IATSeconds: 600, FunctionImageSizeMB: 60, BurstSizes: [300] }], ['bursty-long', { BurstSizes: [100], IATSeconds: 600, DesiredServiceTimes: ['1s'] }],
  // coldboot-predictability, data-transfer.
  ['cold', { IATSeconds: 70 }], ['inline', { Title: '2chain,inline', ...chain, IATSeconds: 0.5 }], ['storage', { Title: '2chain,S3', ...chain, StorageTransfer: true }],
  // Ours.
  ['cold', { keepAliveSeconds: 0.5, IATSeconds: 2 }], ['warm', { keepAliveSeconds: 3, IATSeconds: 2 }], ['cold', { keepAliveSeconds: 0 }], ['reference', { ...chain, referenceTransfer: true }],
  ['runtime', { Title: 'runtime python', IATSeconds: 600 }], ['image-size', { Title: 'image-size-100', keepAliveSeconds: 1, IATSeconds: 2, FunctionImageSizeMB: 100 }],
  ['bursty-long', { Title: 'bursty-long', DesiredServiceTimes: ['1s'], IATSeconds: 600 }], ['bursty-warm', { Title: 'Bursty-Warm 100', BurstSizes: [100] }],
  // A title makes no burst and no chain (K1).
  ['other', { Title: 'bursty-cold' }], ['warm', { Title: 'inline' }], ['inline', { Title: 'warm', ...chain }], ['warm', { Title: 'warmth' }],
  ['other', { openLoop: { arrivalsPerSecond: 10 } }], ['warm', { Title: 'warm', openLoop: { arrivalsPerSecond: 10 } }], ['other', { DesiredServiceTimes: ['1s'] }],
]

test('settings and titles give the factor', () => {
  for (const [factor, settings] of cases) assert.equal(factorOf(settings), factor, JSON.stringify(settings))
})

test('a directory of the original tells its transfer by the title only', () => {
  const known = { Title: '2chain,S3', FunctionMemoryMB: 128, FunctionImageSizeMB: 0, IATSeconds: 0, BurstSizes: [1], DesiredServiceTimes: [{ text: '0ms', ms: 0 }], PayloadLengthBytes: 1024, DataTransferChainLength: 2 }
  assert.equal(transferOf(known), 'storage')
  assert.equal(transferOf({ ...known, Title: '2chain,inline' }), 'inline')
  assert.equal(classify(known), 'storage')
})
