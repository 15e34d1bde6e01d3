/**
 * The child that the conformance suite kills: it writes as fast as it can and reports every acknowledgement on a line.
 *
 * Arguments: a module with `openForChild(argument): Promise<Store>`, and the argument. Reports are written after
 * the promise resolved: whatever the parent reads was acknowledged.
 */
import type { Store } from './store.ts'

const [module, argument] = process.argv.slice(2) as [string, string]
const { openForChild } = (await import(module)) as { readonly openForChild: (argument: string) => Promise<Store> }
const store = await openForChild(argument)
// Written synchronously to a pipe, waiting for a slow reader (writeSync would fail with EAGAIN).
const report = (kind: string, id: string): void => void process.stdout.write(`${kind} ${id}\n`)

async function enqueueForEver(caller: number): Promise<never> {
  for (let round = 0; ; round++) {
    const items = [0, 1, 2].map((index) => ({ id: `${caller}-${round}-${index}`, payload: `{"round":${round}}`, dueAtMs: 0 }))
    await store.enqueue('crash', items)
    for (const { id } of items) report('enqueued', id)
  }
}

async function completeForEver(): Promise<never> {
  for (;;) {
    const claimed = await store.claim('crash', { limit: 5, leaseMs: 1000, nowMs: 1 })
    for (const { id } of claimed) report('completing', id)
    await store.complete('crash', claimed.map((item) => item.id))
    for (const { id } of claimed) report('completed', id)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function putForEver(): Promise<never> {
  for (let round = 0; ; round++) {
    await store.put('crash', `key-${round}`, { round })
    report('put', `key-${round}`)
  }
}

await Promise.all([enqueueForEver(0), enqueueForEver(1), enqueueForEver(2), completeForEver(), putForEver()])
