/**
 * Puts the light classes in the place of the global `Headers`, `Request`, `Response` and `fetch`.
 *
 * Functions of Node that look inside a Request or Response get Node's own object: `fetch`, and WebAssembly's streaming.
 */
import { LightHeaders } from './light-headers.ts'
import { LightRequest } from './light-request.ts'
import { LightResponse } from './light-response.ts'
import { loadReal, realFetch } from './real.ts'

export function installLightGlobals(): void {
  replace(globalThis, 'Headers', LightHeaders)
  replace(globalThis, 'Request', LightRequest)
  replace(globalThis, 'Response', LightResponse)
  replace(globalThis, 'fetch', function fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
    loadReal()
    return realFetch()(LightRequest.realOf(input) as RequestInfo, init)
  })
  for (const name of ['compileStreaming', 'instantiateStreaming'] as const) {
    const real = WebAssembly[name] as (source: unknown, ...rest: unknown[]) => Promise<unknown>
    const lightly = async (source: unknown, ...rest: unknown[]): Promise<unknown> => real.call(WebAssembly, LightResponse.realOf(await source), ...rest)
    replace(WebAssembly, name, lightly)
  }
}

function replace(owner: object, name: string, value: unknown): void {
  Object.defineProperty(owner, name, { value, writable: true, configurable: true, enumerable: Object.getOwnPropertyDescriptor(owner, name)?.enumerable ?? false })
}
