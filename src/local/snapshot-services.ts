/**
 * The worker's snapshots as the API shows them, each namespace its own; and their end with the revision that they are of.
 *
 * A snapshot is named `<namespace>/<function>@<revision>`. Revision numbers are never given twice, so that one that is forgotten
 * late costs disk until it is evicted, and nothing else.
 */
import type { SnapshotDetails, SnapshotReader, SnapshotSummary } from '#gateway/api/services.ts'
import type { FunctionRegistry } from '#registry/functions.ts'
import type { SnapshotInfo } from '#worker/snapshots/snapshot-entry.ts'
import type { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'

interface Named {
  readonly namespace: string
  readonly function: string
  readonly revision: number
}

const NAME = /^([^/@]+)\/([^/@]+)@([1-9][0-9]{0,8})$/

export function snapshotReader(store: SnapshotStore): SnapshotReader {
  return {
    list: (namespace) =>
      store
        .list()
        .flatMap((info) => summaryOf(info, namespace) ?? [])
        .sort((a, b) => (a.function < b.function ? -1 : a.function > b.function ? 1 : a.revision - b.revision)),
    async show(namespace, name, revision): Promise<SnapshotDetails> {
      const { contiguity, footprint, ...info } = await store.show(nameOf(namespace, name, revision))
      return { ...summaryOf(info, namespace)!, ...(contiguity !== undefined && { contiguity }), ...(footprint !== undefined && { footprint }) }
    },
    drop: (namespace, name, revision) => store.drop(nameOf(namespace, name, revision)),
  }
}

/** A function was deleted, or with `revision` one that was not kept any longer. */
export function forgetSnapshots(store: SnapshotStore, gone: { readonly namespace: string; readonly name: string; readonly revision?: number }): void {
  for (const info of store.list()) {
    const named = parseName(info.revision)
    if (named?.namespace === gone.namespace && named.function === gone.name && (gone.revision === undefined || named.revision === gone.revision)) store.drop(info.revision)
  }
}

/** What a platform that was killed has left: snapshots of revisions that are no more. @returns how many. */
export async function sweepSnapshots(store: SnapshotStore, functions: Pick<FunctionRegistry, 'revision'>): Promise<number> {
  let swept = 0
  for (const { revision, imageId } of store.list()) {
    const named = parseName(revision)
    if (named !== undefined && (await functions.revision(named.namespace, named.function, named.revision)) !== undefined) continue
    // Another one of the same name can only have come of a revision that is there.
    if (!store.list().some((info) => info.imageId === imageId)) continue
    store.drop(revision)
    swept++
  }
  return swept
}

function summaryOf(info: SnapshotInfo, namespace: string): SnapshotSummary | undefined {
  const named = parseName(info.revision)
  if (named?.namespace !== namespace) return undefined
  const { imageBytes, storedBytes, diskBytes, takenAtMs, answered, lastUsedMs, leases, verified, recording } = info
  const summary: SnapshotSummary = { function: named.function, revision: named.revision, imageBytes, storedBytes, diskBytes, takenAtMs, answered, lastUsedMs, inUse: leases, verified }
  if (recording === undefined) return summary
  const { recordedAtMs, pagesTouched, pagesZero, pagesPrefetched, runs, order, encoding } = recording
  return { ...summary, recording: { recordedAtMs, pagesRecorded: pagesTouched, pagesZero, pagesPrefetched, runs, order, encoding, diskBytes: recording.diskBytes } }
}

function nameOf(namespace: string, name: string, revision: number): string {
  return `${namespace}/${name}@${revision}`
}

function parseName(name: string): Named | undefined {
  const parts = NAME.exec(name)
  return parts === null ? undefined : { namespace: parts[1]!, function: parts[2]!, revision: Number(parts[3]) }
}
