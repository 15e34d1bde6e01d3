/**
 * Delivers the result of an asynchronous invocation to where its caller asked for it.
 *
 * `function:<name>` invokes a function of the same namespace, asynchronously, so that the delivery is as durable as the
 * work was. An http(s) address gets a POST; only loopback ones are allowed unless the operator names the host, because
 * an address given by a caller would otherwise let them speak to whatever this machine can reach.
 */
import { PlatformError } from '#contract/errors.ts'
import type { AcceptOptions, AsyncResult } from '#activator/async-queue.ts'

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost'])
const ATTEMPTS_MAX = 3
const TIMEOUT_MS = 10_000
const FUNCTION = 'function:'

/** @throws INPUT_INVALID. To be asked before the work is accepted: a caller should hear of a bad address at once. */
export function checkCallback(target: string, allowedHosts: ReadonlySet<string> = new Set()): void {
  if (target.startsWith(FUNCTION)) return
  const url = URL.canParse(target) ? new URL(target) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new PlatformError('INPUT_INVALID', `"${target.slice(0, 200)}" is no callback; give an http(s) address, or function:<name>.`)
  }
  if (LOOPBACK.has(url.hostname) || allowedHosts.has(url.hostname)) return
  throw new PlatformError('INPUT_INVALID', `Callbacks to ${url.hostname} are not allowed; use function:<name>, a loopback address, or start the platform with --callback-host ${url.hostname}.`)
}

export function callBackTo(options: { readonly accept: (options: AcceptOptions) => Promise<string> }): (target: string, result: AsyncResult) => Promise<void> {
  return async (target, result) => {
    const body = Buffer.from(JSON.stringify(result))
    if (target.startsWith(FUNCTION)) {
      await options.accept({
        namespace: result.namespace,
        function: target.slice(FUNCTION.length),
        request: { kind: 'event', method: 'POST', path: '/', headers: ['content-type', 'application/json', 'x-skep-invocation-id', result.id], body },
        idempotencyKey: `callback:${result.id}`,
      })
      return
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const response = await fetch(target, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', 'x-skep-invocation-id': result.id },
          signal: AbortSignal.timeout(TIMEOUT_MS),
          redirect: 'error',
        })
        await response.body?.cancel()
        if (response.status < 500) return
        throw new Error(`it answered ${response.status}`)
      } catch (error) {
        if (attempt === ATTEMPTS_MAX) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** attempt).unref())
    }
  }
}
