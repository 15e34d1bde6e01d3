/** Opens the embedded store for the child of the conformance suite. */
import { openSqliteStore } from './sqlite-store.ts'
import type { Store } from './store.ts'

export function openForChild(path: string): Promise<Store> {
  return openSqliteStore({ path })
}
