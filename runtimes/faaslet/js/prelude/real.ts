/** There is one implementation of Headers here, where runtimes/node has two. */
export function isInstance(target: unknown, _light: unknown, value: unknown): boolean {
  return Function.prototype[Symbol.hasInstance].call(target, value) as boolean
}
