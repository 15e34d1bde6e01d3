/** What can be tuned about a worker. */

export interface WorkerConfig {
  /** Sandboxes kept started without a function, by kind. Each costs the memory of an idle runtime (about 45 MB for Node). */
  readonly stemCells: Readonly<Partial<Record<'node' | 'python', number>>>
  /** Quiet time before a taken stem cell is replaced, ms. Longer disturbs running invocations less. */
  readonly stemCellRefillMs: number
  /** Faaslet hosts kept started without a tenant. Each costs about 60 MB. */
  readonly faasletHosts: number
  /** How long a faaslet host without functions stays with its tenant, ms. */
  readonly faasletHostIdleMs: number
  /** Memory of one faaslet host, MB: of all faaslets that a tenant runs in it at a time. */
  readonly faasletHostMemoryMb: number
  /** What all snapshots together may take of the disk, bytes; the ones that were used last stay. */
  readonly snapshotBytesMax: number
  /** How long a runtime may take to start, ms. */
  readonly helloTimeoutMs: number
  /** Size of each sandbox's private /tmp, bytes; it counts as the function's memory. */
  readonly tmpBytesMax: number
}

export const workerDefaults: WorkerConfig = {
  stemCells: { node: 2, python: 1 },
  stemCellRefillMs: 20,
  faasletHosts: 1,
  faasletHostIdleMs: 60_000,
  faasletHostMemoryMb: 4096,
  snapshotBytesMax: 8 * 1024 ** 3,
  helloTimeoutMs: 10_000,
  tmpBytesMax: 512 * 1024 * 1024,
}
