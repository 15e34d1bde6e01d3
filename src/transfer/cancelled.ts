/** Giving up: what a wait ends with when its signal says so. */
import { PlatformError } from '#contract/errors.ts'

export function cancelled(signal: AbortSignal): PlatformError {
  return signal.reason instanceof PlatformError ? signal.reason : new PlatformError('CANCELLED', 'The transfer was given up by whoever wanted it.', { cause: signal.reason })
}

/** What comes, or CANCELLED as soon as the signal says so; what comes later is dropped. */
export function unlessAborted<Value>(promise: Promise<Value>, signal: AbortSignal | undefined): Promise<Value> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(cancelled(signal))
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    void promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
