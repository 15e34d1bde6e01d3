/**
 * Subjects of the bus: parts between dots, as NATS has them.
 *
 * In a pattern `*` stands for one whole part and a last `>` for one or more: `worker.*.load` matches `worker.7.load`,
 * `worker.>` matches that too, but not `worker`.
 */
import assert from 'node:assert/strict'

/** No spaces, no empty parts, no wildcards inside of words. */
const SUBJECT = /^[^\s.*>]+(?:\.[^\s.*>]+)*$/
const PATTERN = /^(?:(?:[^\s.*>]+|\*)\.)*(?:[^\s.*>]+|\*|>)$/

export function assertSubject(subject: string): void {
  assert(SUBJECT.test(subject), `not a subject: "${subject}"`)
}

export function assertPattern(pattern: string): void {
  assert(PATTERN.test(pattern), `not a pattern of subjects: "${pattern}"`)
}

export function hasWildcard(pattern: string): boolean {
  return pattern.includes('*') || pattern.endsWith('>')
}

/** Both valid. */
export function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split('.')
  const parts = subject.split('.')
  for (const [index, part] of wanted.entries()) {
    if (part === '>') return parts.length > index
    if (index >= parts.length) return false
    if (part !== '*' && part !== parts[index]) return false
  }
  return wanted.length === parts.length
}

/** What was registered for patterns, in the order of registration. Exact subjects are found without comparing. */
export class SubjectTable<Entry> {
  readonly #exact = new Map<string, Set<Registered<Entry>>>()
  readonly #wild = new Set<Registered<Entry>>()
  #order = 0

  /** @returns Takes it out again. */
  add(pattern: string, entry: Entry): () => void {
    assertPattern(pattern)
    const registered = { pattern, entry, order: this.#order++ }
    if (hasWildcard(pattern)) {
      this.#wild.add(registered)
      return () => {
        this.#wild.delete(registered)
      }
    }
    const same = this.#exact.get(pattern) ?? new Set()
    this.#exact.set(pattern, same.add(registered))
    return () => {
      same.delete(registered)
      if (same.size === 0 && this.#exact.get(pattern) === same) this.#exact.delete(pattern)
    }
  }

  find(subject: string): Entry[] {
    const found = [...(this.#exact.get(subject) ?? [])]
    for (const registered of this.#wild) if (matches(registered.pattern, subject)) found.push(registered)
    return found.sort((a, b) => a.order - b.order).map((registered) => registered.entry)
  }
}

interface Registered<Entry> {
  readonly pattern: string
  readonly entry: Entry
  readonly order: number
}
