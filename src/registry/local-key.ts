/**
 * The key of the person at this machine: made at the first run, and kept in a file that only they can read, so that the
 * command line works without being told a key.
 *
 * Whoever may write the data directory owns the platform anyway; so a file that is lost, or whose key was revoked, is
 * replaced by a new admin key at the next start, and a lost key is never a reason to lose the data.
 *
 * Invariant: the file is written before the key is valid. A crash between leaves a useless file, which the next start
 * replaces, and never a key that nobody has.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { generateKey } from './keys.ts'
import { DEFAULT_NAMESPACE } from './namespaces.ts'
import type { NamespaceRegistry } from './namespaces.ts'

/** The content of `<data>/credentials.json`. */
export interface LocalCredentials {
  readonly namespace: string
  readonly key: string
}

/** @param file Usually `<data>/credentials.json`; mode 0600. @returns A valid admin key of `default`, the same as last time if it still is one. */
export async function ensureLocalKey(options: {
  readonly namespaces: NamespaceRegistry
  readonly file: string
  readonly randomBytes: (length: number) => Buffer
}): Promise<LocalCredentials & { readonly created: boolean }> {
  const { namespaces, file } = options
  const kept = await readCredentials(file)
  const entity = kept === undefined ? undefined : namespaces.verifyKey(kept.key)
  if (entity?.role === 'admin') return { namespace: entity.namespace, key: kept!.key, created: false }

  const generated = generateKey(options.randomBytes)
  const credentials: LocalCredentials = { namespace: DEFAULT_NAMESPACE, key: generated.text }
  await writePrivately(file, `${JSON.stringify(credentials, undefined, 2)}\n`)
  await namespaces.addKey({ namespace: DEFAULT_NAMESPACE, name: 'local', role: 'admin' }, generated)
  return { ...credentials, created: true }
}

/** Undefined when the file is not there or is none of ours. */
export async function readCredentials(file: string): Promise<LocalCredentials | undefined> {
  try {
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<LocalCredentials> | null
    return typeof value?.key === 'string' && typeof value.namespace === 'string' ? { namespace: value.namespace, key: value.key } : undefined
  } catch {
    return undefined
  }
}

async function writePrivately(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    // `w` keeps the mode of a file that a crash has left there.
    await file.chmod(0o600)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
}
