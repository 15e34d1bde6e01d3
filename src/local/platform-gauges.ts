/** Gauges of the platform's state, set just before somebody reads /metrics. */
import type { Activator } from '#activator/activator.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Invoker } from '#gateway/invoker.ts'
import type { SnapshotStore } from '#worker/snapshots/snapshot-store.ts'
import type { Worker } from '#worker/worker.ts'

export function exposePlatform(metrics: Metrics, platform: { readonly activator: Activator; readonly worker: Worker; readonly invoker: Invoker; readonly snapshots: SnapshotStore }): void {
  const { activator, worker, invoker, snapshots } = platform
  const instances = metrics.gauge({ name: 'skep_instances', help: 'Instances by state.', labels: ['state'] })
  const open = metrics.gauge({ name: 'skep_invocations_open', help: 'Invocations that have not ended.' }).with({})
  const queued = metrics.gauge({ name: 'skep_invocations_queued', help: 'Of those, the ones that wait for an instance.' }).with({})
  const kept = metrics.gauge({ name: 'skep_snapshots', help: 'Snapshots that are kept.' }).with({})
  const keptBytes = metrics.gauge({ name: 'skep_snapshot_disk_bytes', help: 'What they take of the disk, with what is leaving and what is being written.' }).with({})
  const hosts = metrics.gauge({ name: 'skep_faaslet_hosts', help: 'Processes that run faaslets: of a tenant, or generic and started ahead.', labels: ['state'] })
  metrics.beforeExpose(() => {
    const counts = { starting: 0, ready: 0, busy: 0, 'stem-cell': 0 }
    let waiting = 0
    for (const pool of activator.pools()) {
      waiting += pool.queueLength
      counts.starting += pool.startingCount
      for (const instance of pool.instances) counts[instance.proxy.load.inFlight > 0 ? 'busy' : 'ready']++
    }
    for (const cells of worker.stemCells().values()) counts['stem-cell'] += cells.length
    for (const [state, count] of Object.entries(counts)) instances.with({ state }).set(count)
    const states = { tenant: 0, generic: 0 }
    for (const host of worker.faasletHosts()) states[host.isGeneric ? 'generic' : 'tenant']++
    for (const [state, count] of Object.entries(states)) hosts.with({ state }).set(count)
    kept.set(snapshots.list().length)
    keptBytes.set(snapshots.diskBytes)
    open.set(invoker.openCount)
    queued.set(waiting)
  })
}
