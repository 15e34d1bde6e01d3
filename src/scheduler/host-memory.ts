/**
 * What memory the host has left, and what an instance would give back.
 *
 * Both are estimates: the system counts cached files as available, and an instance's count holds pages that it shares
 * with others. They decide when idle instances go, where too few means only that the next start asks for more.
 */
import { readFileSync } from 'node:fs'
import { freemem } from 'node:os'
import type { Instance } from '#worker/instance.ts'

export const MB = 1024 ** 2

/** What can be used without swapping, in whole MB. */
export function availableMemoryMb(): number {
  try {
    const kb = /^MemAvailable:\s+(\d+)/m.exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]
    if (kb !== undefined) return Math.floor(Number(kb) / 1024)
  } catch {
    // Not Linux; what the system calls free will do.
  }
  return Math.floor(freemem() / MB)
}

/** Bytes that come back when it is gone. Its function's limit where the system does not tell. */
export function memoryOf(instance: Instance): number {
  const { memoryBytes } = instance.usage()
  return memoryBytes > 0 ? memoryBytes : instance.revision.config.memoryMb * MB
}
