/**
 * Node's own fetch classes, loaded at the first need.
 *
 * Loading them takes 18 ms (measured on Node 26: undici, streams and all), as long as starting Node itself. So the light
 * classes beside this file answer for them, and only what is rarely used goes through to the real ones.
 */
const take = <Class>(name: string): (() => Class) => {
  const descriptor = Object.getOwnPropertyDescriptor(globalThis, name)!
  let value: Class | undefined
  return () => (value ??= (descriptor.get === undefined ? descriptor.value : descriptor.get.call(globalThis)) as Class)
}

export const realHeaders = take<typeof Headers>('Headers')
export const realRequest = take<typeof Request>('Request')
export const realResponse = take<typeof Response>('Response')
export const realFetch = take<typeof fetch>('fetch')

/** True once the real classes may have been handed out: before, nothing can be an instance of them. */
export let realIsLoaded = false

export function loadReal(): void {
  if (realIsLoaded) return
  realIsLoaded = true
  realHeaders()
  realRequest()
  realResponse()
}

/** Whether it is an instance of Node's own class. Does not load it: if it is not loaded, nothing is. */
export function isReal(value: unknown, real: () => abstract new (...args: never[]) => unknown): boolean {
  return realIsLoaded && typeof value === 'object' && value !== null && value instanceof real()
}

/** `instanceof` for a light class: itself, its subclasses, and, for the class itself, Node's own instances. */
export function isInstance(target: unknown, light: unknown, value: unknown, real: () => abstract new (...args: never[]) => unknown): boolean {
  return (Function.prototype[Symbol.hasInstance].call(target, value) as boolean) || (target === light && isReal(value, real))
}
