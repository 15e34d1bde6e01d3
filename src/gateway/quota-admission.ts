/** Turns the quotas' decisions into the errors that callers get. */
import { PlatformError } from '#contract/errors.ts'
import type { Admission } from './front.ts'
import type { Quotas } from './quota.ts'

export class QuotaAdmission implements Admission {
  readonly #quotas: Quotas
  readonly #nowMs: () => number
  readonly #counted: string

  /** @param options.counted What is admitted, in the plural, for messages. Default: invocations. */
  constructor(options: { readonly quotas: Quotas; readonly nowMs: () => number; readonly counted?: string }) {
    this.#quotas = options.quotas
    this.#nowMs = options.nowMs
    this.#counted = options.counted ?? 'invocations'
  }

  admit(namespace: string): void {
    const admission = this.#quotas.of(namespace).admit(this.#nowMs())
    if (admission.kind === 'accepted') return
    const { limit, retryAfterMs } = admission
    if (admission.kind === 'rate') {
      throw new PlatformError('RATE_EXCEEDED', `Namespace ${namespace} may have ${limit} ${this.#counted} a minute; send again in ${Math.ceil(retryAfterMs)} ms, or have its quota raised.`, {
        details: { limit, retryAfterMs },
      })
    }
    throw new PlatformError('CONCURRENCY_EXCEEDED', `Namespace ${namespace} has ${limit} ${this.#counted} under way, the most it may; send again when some have ended, or have its quota raised.`, {
      details: { limit, retryAfterMs },
    })
  }

  release(namespace: string): void {
    this.#quotas.release(namespace)
  }
}
