/**
 * Makes a lost object again by running its producer again (thesis 6.3.2.2: there, that is the user's work).
 *
 * Only for functions that allow it, and a bounded number of times. All consumers of a lost object share one run: its successor has as many
 * retrievals as it had, and is remembered for as long as somebody may come with the old reference.
 */
import type { PeerOptions } from './peers.ts'
import type { ReferenceContents } from './reference.ts'

/** Runs the invocation again. @returns The reference that its put of the same ordinal made; undefined when the function does not allow it. */
export type Rerun = (namespace: string, contents: ReferenceContents, options: PeerOptions) => Promise<string | undefined>

export const RERUNS_MAX = 2
/** Successors remembered: those of the objects that were lost last. */
const REMEMBERED_MAX = 10_000

export class LostProducers {
  readonly #rerun: Rerun
  readonly #successors = new Map<string, Promise<string | undefined>>()

  constructor(rerun: Rerun) {
    this.#rerun = rerun
  }

  /** The reference of the object that takes the lost one's place. @throws What the run throws; the next consumer tries again. */
  successor(namespace: string, contents: ReferenceContents): Promise<string | undefined> {
    const key = `${contents.worker}/${contents.object}`
    const known = this.#successors.get(key)
    if (known !== undefined) return known
    // Shared, so no single consumer's signal ends it.
    const made = this.#rerun(namespace, contents, {})
    this.#successors.set(key, made)
    if (this.#successors.size > REMEMBERED_MAX) this.#successors.delete(this.#successors.keys().next().value!)
    const forget = (): void => {
      if (this.#successors.get(key) === made) this.#successors.delete(key)
    }
    made.then((reference) => {
      if (reference === undefined) forget()
    }, forget)
    return made
  }
}
