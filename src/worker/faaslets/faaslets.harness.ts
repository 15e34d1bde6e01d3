/** For the tests of faaslets in a worker: what they deploy, a store of snapshots, and patience for what a host does by itself. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { systemClock } from '#base/clock.ts'
import type { SandboxProvider } from '../sandbox/sandbox.ts'
import { SnapshotStore } from '../snapshots/snapshot-store.ts'
import type { SnapshotStoreOptions } from '../snapshots/snapshot-store.ts'

/** Says when its code was loaded: the same time means the same boot. Touches some memory. */
export const born = {
  'index.js': `
    const bornMs = Date.now()
    const table = Array.from({ length: 5000 }, (_, at) => ({ at, text: 'entry ' + at }))
    let count = 0
    export function main({ at = 0 } = {}) { return { bornMs, entry: table[at].text, count: ++count } }
  `,
} as const

/** Gone when the test ends. */
export async function snapshotStore(context: Pick<TestContext, 'after'>, over: Partial<SnapshotStoreOptions> = {}): Promise<{ readonly store: SnapshotStore; readonly directory: string; readonly lost: string[] }> {
  const directory = over.directory ?? mkdtempSync(join(tmpdir(), 'skep-snapshots-'))
  const lost: string[] = []
  const store = await SnapshotStore.open({ directory, bytesMax: 2 ** 30, clock: systemClock, onLost: ({ part, error }) => lost.push(`${part}: ${error.code}`), ...over })
  context.after(async () => {
    await store[Symbol.asyncDispose]()
    // What the test started ends after this, and may still write: tried again.
    if (over.directory === undefined) rmSync(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 })
  })
  return { store, directory, lost }
}

/** Sandboxes that lack something: as on a host without the addon, or on a kernel without userfaultfd. */
export function lacking(what: 'addon' | 'userfaultfd'): (real: SandboxProvider) => SandboxProvider {
  return (real) => ({
    kind: real.kind,
    isolation: () => real.isolation(),
    start: (options) => real.start(what === 'addon' ? { ...options, environment: { ...options.environment, SKEP_NATIVE: '/absent.node' } } : { ...options, paging: false }),
    sweep: () => real.sweep(),
    close: () => real.close(),
  })
}

export async function eventually<Value>(ask: () => Value, what: string): Promise<NonNullable<Exclude<Value, false>>> {
  const endMs = performance.now() + 20_000
  for (;;) {
    const value = ask()
    if (value !== undefined && value !== null && value !== false) return value as NonNullable<Exclude<Value, false>>
    assert.ok(performance.now() < endMs, `it did not come true that ${what}`)
    await new Promise((wake) => setTimeout(wake, 2))
  }
}
