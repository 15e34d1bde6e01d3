/**
 * Which functions a directory holds, for `skep dev`: each file with a known extension at its top is one, and each
 * directory that has an entry. Names are those of files and directories.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { kindOfName } from '#build/guess-kind.ts'
import { nameFor } from './commands/deploy.ts'

export interface DevFunction {
  readonly name: string
  readonly path: string
  readonly directory: boolean
}

const entryOfDirectory = /^(?:index|main|handler)\.(?:[cm]?[jt]s|py)$|^package\.json$/
const notFunctions = /\.(?:test|spec|soak|config|d)\.\w+$/

/** In the order of their names. Of two with one name the first counts; `clash` is told of the other. */
export function findFunctions(directory: string, clash: (path: string, name: string) => void = () => {}): DevFunction[] {
  const found = new Map<string, DevFunction>()
  for (const item of readdirSync(directory).sort()) {
    if (item.startsWith('.') || item === 'node_modules' || item === '__pycache__') continue
    const path = join(directory, item)
    const info = statSync(path, { throwIfNoEntry: false })
    const isDirectory = info?.isDirectory() === true
    const isFunction = isDirectory ? readdirSync(path).some((name) => entryOfDirectory.test(name)) : info !== undefined && kindOfName(item) !== undefined && !notFunctions.test(item)
    if (!isFunction) continue
    const name = nameFor(path, {})
    if (found.has(name)) clash(path, name)
    else found.set(name, { name, path, directory: isDirectory })
  }
  return [...found.values()]
}
