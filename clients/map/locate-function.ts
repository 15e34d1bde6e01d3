/**
 * Where an exported function of the user's program is: the file of its module, and its name.
 *
 * V8 knows where each function was written, and tells it to a debugger; this asks as one, in the same process. So it does not matter from which
 * module the function was imported, or who calls. What has no such place (bound and native functions) is named by `{ module, name }`.
 */
import { Session } from 'node:inspector'
import type { Runtime } from 'node:inspector'
import { fileURLToPath } from 'node:url'
import { PlatformError } from '../../src/contract/errors.ts'

/** An exported function of a module file, or its place: `{ module: import.meta.url, name: 'work' }`. */
export type FunctionOf<Arguments extends readonly unknown[], Result> = ((...given: Arguments) => Result | Promise<Result>) | { readonly module: string; readonly name: string }

export interface FunctionPlace {
  /** Absolute path. */
  readonly file: string
  readonly name: string
}

const known = new WeakMap<object, FunctionPlace>()
/** Under which the debugger finds the function. */
const HANDLE = Symbol.for('skep.map.located')

/** @throws INPUT_INVALID with what to do. */
export function locateFunction(given: FunctionOf<never, unknown>): FunctionPlace {
  if (typeof given !== 'function') {
    if (typeof given?.module !== 'string' || typeof given.name !== 'string') throw notLocated('', 'it is neither a function nor { module, name }')
    return { file: given.module.startsWith('file:') ? fileURLToPath(given.module) : given.module, name: given.name }
  }
  const before = known.get(given)
  if (before !== undefined) return before
  if (given.name === '') throw notLocated('', 'it has no name')
  const url = urlOf(given)
  if (url === undefined) throw notLocated(given.name, 'it is bound, native or made by eval, so it has no place in a file')
  if (!url.startsWith('file:') && !url.startsWith('/')) throw notLocated(given.name, `it lies in ${url}, which is no file`)
  const place = { file: url.startsWith('file:') ? fileURLToPath(url) : url, name: given.name }
  known.set(given, place)
  return place
}

function urlOf(given: object): string | undefined {
  const urls = new Map<string, string>()
  let script: string | undefined
  const session = new Session()
  session.connect()
  try {
    session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url))
    session.post('Debugger.enable')
    Object.defineProperty(globalThis, HANDLE, { value: given, configurable: true })
    // In the same process, answers come before `post` returns.
    session.post('Runtime.evaluate', { expression: `globalThis[Symbol.for(${JSON.stringify(HANDLE.description)})]` }, (_error, evaluated) => {
      session.post('Runtime.getProperties', { objectId: evaluated.result.objectId!, ownProperties: true }, (_failed, found) => {
        const place = found.internalProperties?.find((property) => property.name === '[[FunctionLocation]]')?.value
        script = (place as Runtime.RemoteObject & { value?: { scriptId: string } } | undefined)?.value?.scriptId
      })
    })
  } finally {
    Reflect.deleteProperty(globalThis, HANDLE)
    session.disconnect()
  }
  return script === undefined ? undefined : urls.get(script)
}

function notLocated(name: string, why: string): PlatformError {
  const what = name === '' ? 'This function' : `The function ${name}`
  return new PlatformError('INPUT_INVALID', `${what} cannot be run elsewhere: ${why}. Give an exported function of a module, or { module: import.meta.url, name: 'work' }.`)
}
