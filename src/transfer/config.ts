/** What can be tuned about objects. docs/configuration.md names this file. */
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'

export interface TransferConfig {
  /** Bodies in memory on this worker, bytes. Beyond it, the oldest objects go to files. */
  readonly memoryBytesMax: number
  /** Bodies in files on this worker, bytes. Beyond both, producers wait. */
  readonly fileBytesMax: number
  /** Bodies of one namespace on this worker, in memory and in files. */
  readonly namespaceBytesMax: number
  /** Bodies on this worker. One that is kept without a descriptor costs about half a KB besides its bytes. */
  readonly objectsMax: number
  /** Bodies of more than 16 KB on this worker: each has a file descriptor, of which a process has a bounded number. */
  readonly descriptorsMax: number
  /** The part of an instance's memory limit that its objects may hold in memory while it lives, 0 to 1. */
  readonly instanceShare: number
  /** A stream whose length nobody knows is written to a file from here on. */
  readonly streamMemoryBytesMax: number
  /** How long a producer waits for room, ms. */
  readonly roomWaitMs: number
  readonly ttlMs: number
  readonly ttlMsMax: number
  readonly retrievals: number
  readonly retrievalsMax: number
}

const GB = 1024 ** 3

/**
 * One quarter of the machine: the rest is the instances' and the page cache's. Files and namespaces: 16 GB, the longest answer that a function may
 * give (`answerBytesMax`), so that whatever may be answered may also be put. Half of an instance: the other half is what its code computes with.
 */
export const transferDefaults: TransferConfig = {
  memoryBytesMax: Math.floor(totalmem() / 4),
  fileBytesMax: 16 * GB,
  namespaceBytesMax: 16 * GB,
  objectsMax: 1_000_000,
  descriptorsMax: Math.floor(openFilesMax() / 2),
  instanceShare: 0.5,
  streamMemoryBytesMax: 256 * 1024 ** 2,
  roomWaitMs: 30_000,
  ttlMs: 600_000,
  ttlMsMax: 86_400_000,
  retrievals: 1,
  retrievalsMax: 1_000_000,
}

/** Node raises the soft limit to the hard one when it starts. The other half is for sockets and sandboxes. */
function openFilesMax(): number {
  try {
    const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    if (limit !== undefined) return Number(limit)
  } catch {
    // Not Linux; what every system allows will do.
  }
  return 1024
}
