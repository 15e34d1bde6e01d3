/** Failed requests by their code: the first message of each, and how many. */
import type { Failure } from '../run-summary.ts'
import type { SendFailure } from './exchange.ts'

export class Failures {
  /** As many as there are statuses and codes; entries stay. */
  readonly #byCode = new Map<string, { readonly message: string; count: number }>()
  count = 0

  add({ code, message }: SendFailure): void {
    this.count++
    const same = this.#byCode.get(code)
    if (same === undefined) this.#byCode.set(code, { message, count: 1 })
    else same.count++
  }

  /** The most frequent first. */
  list(): Failure[] {
    return [...this.#byCode].map(([code, { message, count }]) => ({ code, message, count })).sort((a, b) => b.count - a.count)
  }

  /** For the reason of giving up. */
  toString(): string {
    return this.list().map(({ code, message, count }) => `${count} × ${code} (${message})`).join(', ')
  }
}
