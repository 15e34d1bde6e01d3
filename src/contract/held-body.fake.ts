/** Held bodies for unit tests: a file without a name. */
import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HeldBody } from './held-body.ts'

export interface TestBody {
  readonly body: HeldBody
  /** Resolves when all have let it go. */
  readonly released: Promise<void>
  readonly isReleased: () => boolean
}

export function testBody(content: Uint8Array): TestBody {
  const directory = mkdtempSync(join(tmpdir(), 'skep-body-'))
  const path = join(directory, 'body')
  writeFileSync(path, content)
  const fd = openSync(path, 'r')
  rmSync(directory, { recursive: true })
  const { promise, resolve } = Promise.withResolvers<void>()
  let isReleased = false
  const body = new HeldBody(fd, content.length, () => {
    isReleased = true
    resolve()
  })
  return { body, released: promise, isReleased: () => isReleased }
}
