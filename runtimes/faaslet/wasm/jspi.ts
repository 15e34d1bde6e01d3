/**
 * JavaScript Promise Integration, as V8 has it since 13.7: an import may return a promise, and the WebAssembly code that
 * called it waits on a stack of its own while the thread does something else.
 *
 * Tried on Node 26.10: a `Suspending` import throws SuspendError when it is called outside of a `promising` export, also if
 * it returns no promise. A promising call costs 0.7 µs more than a plain one, a `Suspending` import that does not wait nothing.
 * A stack that is suspended counts as alive, with all it refers to, until it is resumed. Beyond four that V8 pools, each stack
 * leaves its addresses reserved when it is gone (984 KB, no memory): with `--wasm-stack-switching-stack-size=256` 256 KB, with
 * `--experimental-wasm-growable-stacks` 14 KB.
 */

interface Jspi {
  readonly Suspending: new (fn: (...args: never[]) => unknown) => WebAssembly.ImportValue
  promising(fn: WebAssembly.ExportValue): (...args: unknown[]) => Promise<unknown>
}

const jspi = WebAssembly as unknown as Jspi

/** An import whose caller waits when it returns a promise. */
export function suspending(fn: (...args: never[]) => unknown): WebAssembly.ImportValue {
  return new jspi.Suspending(fn)
}

/** An export in which {@link suspending} imports may be called. */
export function promising(fn: WebAssembly.ExportValue): (...args: unknown[]) => Promise<unknown> {
  return jspi.promising(fn)
}
