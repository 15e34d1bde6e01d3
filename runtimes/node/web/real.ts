/**
 * Node's own fetch classes, loaded at the first need.
 *
 * Loading them takes 18 ms and 15 MB (measured on Node 26: undici with http2, tls and streams), as long as starting Node
 * itself. So the light classes beside this file answer for them, and only what is rarely used goes through to the real ones.
 *
 * The globals of Node are lazy, but even reading their property descriptor loads them; replacing them by assignment does
 * not. After that the only way to the real ones is Node's internal module, which `--expose-internals` opens: the platform starts
 * the runtime with it. (Hardly a loss: the sandbox is what protects, not the language.) Without the flag they are loaded at once,
 * and everything works the same, later.
 */
interface RealClasses {
  readonly Headers: typeof Headers
  readonly Request: typeof Request
  readonly Response: typeof Response
}

const INTERNALS_FLAG = '--expose-internals'
const isLazy = process.execArgv.includes(INTERNALS_FLAG)
let classes: RealClasses | undefined = isLazy ? undefined : { Headers, Request, Response }
const nodeFetch = globalThis.fetch

// The platform's flags (worker/runtimes.ts) are not for the processes that the function starts.
if (isLazy) process.execArgv = process.execArgv.filter((flag) => flag !== INTERNALS_FLAG && !flag.startsWith('--min-semi-space-size='))

export const realHeaders = (): typeof Headers => load().Headers
export const realRequest = (): typeof Request => load().Request
export const realResponse = (): typeof Response => load().Response

export function realFetch(input: RequestInfo, init: RequestInit | undefined): Promise<Response> {
  load()
  return nodeFetch(input, init)
}

/** Whether it is an instance of Node's own class. Does not load it: while it is not loaded, nothing is. */
export function isReal(value: unknown, name: keyof RealClasses): boolean {
  return classes !== undefined && typeof value === 'object' && value !== null && value instanceof classes[name]
}

/** `instanceof` for a light class: itself, its subclasses, and, for the class itself, Node's own instances. */
export function isInstance(target: unknown, light: unknown, value: unknown, name: keyof RealClasses): boolean {
  return (Function.prototype[Symbol.hasInstance].call(target, value) as boolean) || (target === light && isReal(value, name))
}

function load(): RealClasses {
  return (classes ??= process.getBuiltinModule('internal/deps/undici/undici') as unknown as RealClasses)
}
