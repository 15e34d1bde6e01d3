/**
 * The objects of this platform: what it has to keep them with, and what is seen of them.
 *
 * The key of references is derived from the data directory's master key (registry/sealing.ts): after a restart a reference still opens, and says
 * what is lost and who can make it again, instead of being taken for a forged one.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '#base/clock.ts'
import type { Metrics } from '#base/metrics.ts'
import { transferDefaults } from '#transfer/config.ts'
import type { TransferConfig } from '#transfer/config.ts'
import { ReferenceKeys } from '#transfer/reference.ts'
import type { ReferenceKey } from '#transfer/reference.ts'
import type { Rerun } from '#transfer/lost-producers.ts'
import type { SharedMemory } from '#transfer/shared-memory.ts'
import { fileBodies, memoryBodies } from '#transfer/spill.ts'
import { Transfers } from '#transfer/transfers.ts'

/** How this worker is called in references: the same after a restart. */
const WORKER = 'local'

export interface TransferServicesOptions {
  readonly dataDirectory: string
  /** Holds 64 hex digits. */
  readonly masterKeyFile: string
  /** Absent where memory cannot be sealed: objects then lie in files. */
  readonly memory: SharedMemory | undefined
  readonly clock: Clock
  readonly config?: Partial<TransferConfig>
  /** Makes a lost object again. */
  readonly rerun?: Rerun
}

/** @throws what reading the key throws, and what making the directory throws. */
export async function openTransfers({ dataDirectory, masterKeyFile, memory, clock, config, rerun }: TransferServicesOptions): Promise<Transfers> {
  const all = { ...transferDefaults, ...config }
  const key = referenceKey(Buffer.from((await readFile(masterKeyFile, 'utf8')).trim(), 'hex'))
  return new Transfers({
    worker: WORKER,
    config: all,
    keys: new ReferenceKeys(key, { nowMs: clock.epochMs, randomBytes, objectLifeMs: all.ttlMsMax }),
    clock,
    randomBytes,
    ...(rerun !== undefined && { rerun }),
    places: { memory: memory === undefined ? undefined : memoryBodies(memory), files: fileBodies(join(dataDirectory, 'transfers')) },
  })
}

/** Another key than the secrets', which cannot be computed from it. */
function referenceKey(masterKey: Buffer): ReferenceKey {
  const derive = (info: string, bytes: number): Buffer => Buffer.from(hkdfSync('sha256', masterKey, '', info, bytes))
  return { id: derive('skep reference key id 1', 4).readUInt32LE(0), key: derive('skep reference key 1', 32) }
}

/** Set just before somebody reads /metrics. */
export function exposeTransfers(metrics: Metrics, transfers: Transfers): void {
  const bytes = metrics.gauge({ name: 'skep_object_bytes', help: 'Bodies that functions have put or pass to each other, by where they lie.', labels: ['place'] })
  const counts = metrics.gauge({ name: 'skep_objects', help: 'Objects by state: kept, being retrieved (leased), and puts that wait for room.', labels: ['state'] })
  metrics.beforeExpose(() => {
    const usage = transfers.usage()
    bytes.with({ place: 'memory' }).set(usage.memoryBytes)
    bytes.with({ place: 'file' }).set(usage.fileBytes)
    counts.with({ state: 'kept' }).set(usage.objects)
    counts.with({ state: 'leased' }).set(usage.leases)
    counts.with({ state: 'waiting' }).set(usage.waiting)
  })
}
