/**
 * Goal: what a snapshot is and what a start from it cost can be seen: in the record of the invocation, over the API, in the metrics; and it
 * goes with its function.
 *
 * Method: one platform, a function of kind js, from its first invocation until its working set is used.
 */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { deployJs, snapshotOf } from '../kit/faaslets.ts'
import { assertError } from '../kit/http.ts'
import { startTestPlatform, until } from '../kit/platform.ts'
import type { EndedInvocation, TestPlatform } from '../kit/platform.ts'

describe('snapshots, seen', { timeout: 60_000 }, () => {
  let platform: TestPlatform

  before(async () => {
    platform = await startTestPlatform()
    await deployJs(platform, 'seen', 'export function main() { return "hi" }', { restore: 'reap', instancesMax: 1 })
  })
  after(() => platform[Symbol.asyncDispose]())

  const invoke = async (): Promise<EndedInvocation> => platform.record((await platform.invoke('seen')).id)
  const phasesOf = ({ queueUs, placementUs, sandboxUs, initUs, runUs }: EndedInvocation): number => queueUs + placementUs + sandboxUs + initUs + runUs

  test('a record tells how its instance was restored; the restore is part of its sandbox phase, and phases add up', async (context) => {
    await invoke()
    await until(async () => (await snapshotOf(platform, 'seen')) !== undefined, 'there is a snapshot')
    await until(async () => {
      await invoke()
      return (await snapshotOf(platform, 'seen'))!.recording !== undefined
    }, 'an invocation was recorded')
    const record = await invoke()
    const { snapshot } = record
    assert.deepEqual([record.start, phasesOf(record)], ['snapshot', record.totalUs])
    assert(snapshot !== undefined && snapshot.restoreUs > 0 && record.sandboxUs === snapshot.restoreUs, JSON.stringify(record))
    if (snapshot.mode !== 'reap') return context.skip(`this machine has no userfaultfd for a prefetch: ${snapshot.mode}`)
    assert(snapshot.pagesPrefetched! > 0 && snapshot.bytesRead! >= snapshot.pagesPrefetched! * 4096, JSON.stringify(snapshot))
  })

  test('the API lists it with its sizes and pages, shows its contiguity and footprint, and /metrics counts its starts', async () => {
    const { snapshots } = (await platform.send('/v1/snapshots')).json()
    assert.deepEqual(snapshots.map((one: { function: string; revision: number }) => [one.function, one.revision]), [['seen', 1]])
    const { contiguity, footprint, ...summary } = (await platform.send('/v1/snapshots/seen?revision=1')).json()
    assert.deepEqual(summary, snapshots[0])
    const { imageBytes, storedBytes, diskBytes, recording, inUse } = summary
    assert(storedBytes > 0 && storedBytes <= imageBytes && diskBytes >= storedBytes && inUse === 1, JSON.stringify(summary))
    assert.deepEqual([contiguity.pages, footprint.touchedBytes], [recording.pagesRecorded, recording.pagesRecorded * 4096])
    assert(Math.abs(contiguity.meanRunPages - contiguity.pages / contiguity.runs) < 1e-9)
    const { text } = await platform.send('/metrics')
    for (const series of [/^skep_snapshots 1$/m, /^skep_snapshot_disk_bytes [1-9]/m, /^skep_faaslet_hosts\{state="tenant"\} 1$/m, /^skep_snapshot_restore_seconds_count\{.*function="seen",mode="\w+"\} \d/m, /^skep_snapshot_pages_recorded_total\{.*function="seen"\} [1-9]/m]) {
      assert.match(text, series)
    }
  })

  test('another namespace sees none of it', async () => {
    assert.equal((await platform.send('/v1/namespaces', { method: 'POST', body: '{"name":"other"}' })).status, 201)
    assert.deepEqual((await platform.send('/v1/snapshots?namespace=other')).json(), { snapshots: [] })
    assertError(await platform.send('/v1/snapshots/seen?namespace=other'), 'ENTITY_NOT_FOUND')
    assertError(await platform.send('/v1/snapshots/seen?namespace=other', { method: 'DELETE' }), 'ENTITY_NOT_FOUND')
  })

  test('a dropped one is gone, its function works on and answers the same, and one of a deleted function goes with it', async () => {
    assert.deepEqual((await platform.send('/v1/snapshots/seen', { method: 'DELETE' })).json(), { dropped: [1] })
    assert.equal(await snapshotOf(platform, 'seen'), undefined)
    assert.equal((await platform.invoke('seen')).text, '"hi"')
    await deployJs(platform, 'seen', 'export function main() { return "two" }')
    await platform.invoke('seen')
    assert.equal((await until(() => snapshotOf(platform, 'seen'), 'the next revision has a snapshot')).revision, 2)
    assert.equal((await platform.send('/v1/functions/seen', { method: 'DELETE' })).status, 204)
    assert.equal(await snapshotOf(platform, 'seen'), undefined)
  })
})
