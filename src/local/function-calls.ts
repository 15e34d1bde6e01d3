/**
 * Calls between functions: from the calling instance's queue proxy straight to the activator, inside this process.
 *
 * A call stays in its namespace: the key that opened the first invocation says nothing about others. It inherits the
 * caller's deadline and trace; it does not count against the rate quota again, and cannot deadlock on the concurrency one.
 */
import { PlatformError } from '#contract/errors.ts'
import type { Revision } from '#contract/function-config.ts'
import type { Invocation } from '#contract/invocation.ts'
import type { AcceptOptions } from '#activator/async-queue.ts'
import type { BeginOptions } from '#gateway/invoker.ts'
import type { FunctionCall } from '#worker/queue-proxy-owner.ts'

export interface FunctionCallsOptions {
  readonly resolve: (namespace: string, name: string) => Revision | undefined
  readonly begin: (begin: BeginOptions, bind: (invocation: Invocation) => void) => Invocation
  readonly accept: (options: AcceptOptions) => Promise<string>
}

export class FunctionCalls {
  readonly #options: FunctionCallsOptions

  constructor(options: FunctionCallsOptions) {
    this.#options = options
  }

  called(call: FunctionCall): void {
    const own = call.parent.revision.namespace
    const slash = call.target.indexOf('/')
    const namespace = slash < 0 ? own : call.target.slice(0, slash)
    const name = call.target.slice(slash + 1)
    if (namespace !== own) {
      return call.sink.fail(new PlatformError('FORBIDDEN', `A function of namespace ${own} may not call one of ${namespace}; call it over HTTP with a key of ${namespace}.`))
    }
    const revision = this.#options.resolve(namespace, name)
    if (revision === undefined) {
      return call.sink.fail(new PlatformError('FUNCTION_NOT_FOUND', `There is no function ${name} in namespace ${namespace}; deploy it, or check the name.`))
    }
    if (call.async) return this.#accept(call, namespace, name)
    this.#options.begin({ revision, origin: 'call', request: call.request, sink: call.sink, parent: call.parent }, (invocation) => {
      call.onCancel = (reason) => invocation.cancel(reason)
    })
  }

  #accept(call: FunctionCall, namespace: string, name: string): void {
    const { request, parent } = call
    this.#options.accept({ namespace, function: name, request, traceparent: parent.traceparent }).then(
      (id) => call.sink.head(202, ['content-type', 'application/json'], Buffer.from(JSON.stringify({ id })), true),
      (thrown: unknown) => call.sink.fail(PlatformError.from(thrown)),
    )
  }
}
