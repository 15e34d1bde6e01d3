/** A disk that is soon full, for tests: a tmpfs of a few hundred KB, where this user may mount one. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmdirSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface SmallDisk {
  readonly path: string
  unmount(): void
}

/** @returns Undefined where mounting is not allowed. */
export function mountSmallDisk(bytes: number): SmallDisk | undefined {
  const path = mkdtempSync(join(tmpdir(), 'skep-disk-'))
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path], { stdio: 'ignore' })
  if (mounted.status !== 0) {
    rmdirSync(path)
    return undefined
  }
  return {
    path,
    unmount() {
      // Lazily: what a failed test may still hold open must not keep the mount.
      spawnSync('umount', ['-l', path], { stdio: 'ignore' })
      rmdirSync(path)
    },
  }
}

/** Writes a file until no page is left. */
export function fillDisk(path: string): void {
  const file = openSync(path, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(4096))
  } catch (thrown) {
    assert.equal((thrown as NodeJS.ErrnoException).code, 'ENOSPC')
  } finally {
    closeSync(file)
  }
}
