/**
 * Puts the light classes in the place of the global `Headers`, `Request`, `Response` and `fetch`.
 *
 * Functions of Node that look inside a Request or Response get Node's own object: `fetch`, and WebAssembly's streaming.
 */
import { LightHeaders } from './light-headers.ts'
import { LightRequest } from './light-request.ts'
import { LightResponse } from './light-response.ts'
import { realFetch } from './real.ts'

export function installLightGlobals(): void {
  replace(globalThis, 'Headers', LightHeaders)
  replace(globalThis, 'Request', LightRequest)
  replace(globalThis, 'Response', LightResponse)
  replace(globalThis, 'fetch', function fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    return realFetch(LightRequest.realOf(input) as RequestInfo, init)
  })
  for (const name of ['compileStreaming', 'instantiateStreaming'] as const) {
    const real = WebAssembly[name] as (source: unknown, ...rest: unknown[]) => Promise<unknown>
    const lightly = async (source: unknown, ...rest: unknown[]): Promise<unknown> => real.call(WebAssembly, LightResponse.realOf(await source), ...rest)
    replace(WebAssembly, name, lightly)
  }
}

/** By assignment: defining the property anew would load what it lazily holds (real.ts). Node's are writable and not enumerable, and stay so. */
function replace(owner: object, name: string, value: unknown): void {
  ;(owner as Record<string, unknown>)[name] = value
}
