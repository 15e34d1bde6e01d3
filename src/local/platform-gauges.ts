/** Gauges of the platform's state, set just before somebody reads /metrics. */
import type { Activator } from '#activator/activator.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Invoker } from '#gateway/invoker.ts'
import type { Worker } from '#worker/worker.ts'

export function exposePlatform(metrics: Metrics, platform: { readonly activator: Activator; readonly worker: Worker; readonly invoker: Invoker }): void {
  const { activator, worker, invoker } = platform
  const instances = metrics.gauge({ name: 'skep_instances', help: 'Instances by state.', labels: ['state'] })
  const open = metrics.gauge({ name: 'skep_invocations_open', help: 'Invocations that have not ended.' }).with({})
  const queued = metrics.gauge({ name: 'skep_invocations_queued', help: 'Of those, the ones that wait for an instance.' }).with({})
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
    open.set(invoker.openCount)
    queued.set(waiting)
  })
}
