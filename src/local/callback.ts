/**
 * Delivers the result of an asynchronous invocation to where its caller asked for it.
 *
 * `function:<name>` invokes a function of the same namespace, asynchronously, so that the delivery is as durable as the
 * work was. An http(s) address gets a POST; only loopback ones are allowed unless the operator names the host, because
 * an address given by a caller would otherwise let them speak to whatever this machine can reach.
 */
import { systemClock } from '#base/clock.ts'
import type { Clock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { NAME_PATTERN } from '#contract/function-config.ts'
import type { AcceptOptions, AsyncResult } from '#activator/async-queue.ts'

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost'])
const ATTEMPTS_MAX = 3
const TIMEOUT_MS = 10_000
const FUNCTION = 'function:'

/** @throws INPUT_INVALID. To be asked before the work is accepted: a caller should hear of a bad address at once. */
export function checkCallback(target: string, allowedHosts: ReadonlySet<string> = new Set()): void {
  if (target.startsWith(FUNCTION)) {
    if (NAME_PATTERN.test(target.slice(FUNCTION.length))) return
    throw new PlatformError('INPUT_INVALID', `"${target.slice(0, 200)}" names no function; give function:<name>, with the name of one of this namespace.`)
  }
  const url = URL.canParse(target) ? new URL(target) : undefined
  // One with a user and password in it could not be asked: fetch refuses such.
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    throw new PlatformError('INPUT_INVALID', `"${target.slice(0, 200)}" is no callback; give an http(s) address without a password, or function:<name>.`)
  }
  if (LOOPBACK.has(url.hostname) || allowedHosts.has(url.hostname)) return
  throw new PlatformError('INPUT_INVALID', `Callbacks to ${url.hostname} are not allowed; use function:<name>, a loopback address, or start the platform with --callback-host ${url.hostname}.`)
}

/** @param options.clock For the waits between attempts. */
export function callBackTo(options: {
  readonly accept: (options: AcceptOptions) => Promise<string>
  readonly clock?: Clock
}): (target: string, result: AsyncResult) => Promise<void> {
  const clock = options.clock ?? systemClock
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
      await new Promise<void>((resolve) => clock.after(500 * 2 ** attempt, resolve))
    }
  }
}
