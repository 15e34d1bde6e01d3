/** Turns the quotas' decisions into the errors that callers get. */
import { PlatformError } from '#contract/errors.ts'
import type { Admission } from './front.ts'
import type { Quotas } from './quota.ts'

export class QuotaAdmission implements Admission {
  readonly #quotas: Quotas
  readonly #nowMs: () => number

  constructor(options: { readonly quotas: Quotas; readonly nowMs: () => number }) {
    this.#quotas = options.quotas
    this.#nowMs = options.nowMs
  }

  admit(namespace: string): void {
    const admission = this.#quotas.of(namespace).admit(this.#nowMs())
    if (admission.kind === 'accepted') return
    const { limit, retryAfterMs } = admission
    if (admission.kind === 'rate') {
      throw new PlatformError('RATE_EXCEEDED', `Namespace ${namespace} may have ${limit} invocations a minute; send again in ${Math.ceil(retryAfterMs)} ms, or have its quota raised.`, {
        details: { limit, retryAfterMs },
      })
    }
    throw new PlatformError('CONCURRENCY_EXCEEDED', `Namespace ${namespace} has ${limit} invocations under way, the most it may; send again when some have ended, or have its quota raised.`, {
      details: { limit, retryAfterMs },
    })
  }

  release(namespace: string): void {
    this.#quotas.release(namespace)
  }
}
