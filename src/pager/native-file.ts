/**
 * Where the native addon lies: one file per platform, processor, modules ABI of Node, and content of its sources.
 *
 * The content is in the name, so a changed source is another file: there is no question whether a build is up to date, and two
 * checkouts or two versions of Node never load each other's. scripts/build-native.ts makes the file; native.ts loads it.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..', 'native')

export const nativeSources = { directory: root, build: join(root, 'build') } as const

/**
 * Options of the one compiler call. Part of the name's hash, as they are part of what is built.
 * The addon throws no C++ exception, and its helper threads could not be caught by one: so it has none. It is never unloaded, as a thread of
 * Node's that ends would have it: its own threads run on, and V8 calls back to unmap buffers after that.
 */
export const compilerOptions: readonly string[] = [
  '-std=gnu++20', '-O2', '-fPIC', '-shared', '-pthread', '-fvisibility=hidden', '-fno-exceptions', '-fno-rtti', '-Wl,-z,nodelete', '-Wall', '-Wextra', '-Wno-missing-field-initializers', '-DNAPI_VERSION=9',
]

/** The source files to compile, in the order of their names. */
export function nativeSourceFiles(): string[] {
  return readdirSync(root).filter((name) => name.endsWith('.cc')).sort()
}

/** The path that the addon for this Node and these sources has, whether or not it has been built. @throws what reading the sources throws. */
export function nativeFile(): string {
  const hash = createHash('sha256').update(compilerOptions.join('\n'))
  for (const name of readdirSync(root).sort()) {
    if (/\.(?:cc|h)$/.test(name)) hash.update(`\n${name}\n`).update(readFileSync(join(root, name)))
  }
  const { platform, arch, versions } = process
  return join(nativeSources.build, `skep-${platform}-${arch}-${versions.modules}-${hash.digest('hex').slice(0, 16)}.node`)
}
