/**
 * AbortController and AbortSignal.
 *
 * Source: DOM standard, section 3.
 */
import { Event, EventTarget } from './events.ts'

let abortSignal: (signal: AbortSignal, reason: unknown) => void
let isMaking = false

export class AbortSignal extends EventTarget {
  #aborted = false
  #reason: unknown
  onabort: ((event: Event) => void) | null = null

  static {
    abortSignal = (signal, reason) => {
      if (signal.#aborted) return
      signal.#aborted = true
      signal.#reason = reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
      signal.dispatchEvent(new Event('abort'))
    }
  }

  constructor() {
    super()
    if (!isMaking) throw new TypeError('Illegal constructor')
  }

  static abort(reason?: unknown): AbortSignal {
    const signal = make()
    abortSignal(signal, reason)
    return signal
  }

  static timeout(ms: number): AbortSignal {
    const signal = make()
    setTimeout(() => abortSignal(signal, new DOMException('The operation was aborted due to timeout', 'TimeoutError')), ms)
    return signal
  }

  static any(signals: Iterable<AbortSignal>): AbortSignal {
    const joined = make()
    for (const signal of signals) {
      if (signal.aborted) {
        abortSignal(joined, signal.reason)
        break
      }
      signal.addEventListener('abort', () => abortSignal(joined, signal.reason), { once: true })
    }
    return joined
  }

  get aborted(): boolean {
    return this.#aborted
  }

  get reason(): unknown {
    return this.#reason
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason
  }

  get [Symbol.toStringTag](): string {
    return 'AbortSignal'
  }
}

export class AbortController {
  readonly #signal = make()

  get signal(): AbortSignal {
    return this.#signal
  }

  abort(reason?: unknown): void {
    abortSignal(this.#signal, reason)
  }

  get [Symbol.toStringTag](): string {
    return 'AbortController'
  }
}

function make(): AbortSignal {
  isMaking = true
  try {
    return new AbortSignal()
  } finally {
    isMaking = false
  }
}
