/**
 * Ships npm packages as they are installed, for those that cannot live inside a bundle.
 *
 * A package that looks for files beside itself (a native addon, a .wasm, a data file) breaks when its code moves into
 * a bundle. Such a package stays outside, and is copied into the function's own node_modules with all it depends on.
 * A dependency goes to the top unless another version is there already; then below its dependent, as npm does it.
 */
import { readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readSourceDirectory } from './source-files.ts'
import type { SourceFiles } from './source-files.ts'

/** The name of the package that an installed file belongs to; undefined for a file of the user's own. */
export function packageOf(path: string): string | undefined {
  const start = path.lastIndexOf('/node_modules/')
  if (start < 0) return undefined
  const parts = path.slice(start + '/node_modules/'.length).split('/')
  return parts[0]!.startsWith('@') ? `${parts[0]}/${parts[1]}` : parts[0]
}

/**
 * The files of packages and of everything they need, below `node_modules/`.
 * @param from Directory of the code that imports them.
 * @param missing Called with the name of a dependency that is not installed (an optional one, usually).
 */
export async function copyPackages(names: Iterable<string>, from: string, missing: (name: string) => void): Promise<SourceFiles> {
  const files: SourceFiles = new Map()
  const placed = new Map<string, string>()
  const waiting = [...names].map((name) => ({ name, from, below: '' }))
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const found = await findPackage(next.name, next.from)
    if (found === undefined) {
      missing(next.name)
      continue
    }
    const top = `node_modules/${next.name}`
    if (placed.get(top) === found) continue
    const place = placed.has(top) ? `${next.below}${top}` : top
    if (placed.has(place)) continue
    placed.set(place, found)
    // Its own nested node_modules are found again through its dependencies, so they are not copied with it.
    const own = await readSourceDirectory(found)
    for (const [path, file] of own.files) files.set(`${place}/${path}`, file)
    for (const name of await dependenciesOf(found)) waiting.push({ name, from: found, below: `${place}/` })
  }
  return files
}

async function findPackage(name: string, from: string): Promise<string | undefined> {
  for (let directory = from; ; directory = dirname(directory)) {
    const found = await realpath(join(directory, 'node_modules', name)).catch(() => undefined)
    if (found !== undefined) return found
    if (dirname(directory) === directory) return undefined
  }
}

async function dependenciesOf(directory: string): Promise<string[]> {
  const manifest = JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as Record<string, Record<string, string> | undefined>
  return Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'], ...manifest['peerDependencies'] })
}
