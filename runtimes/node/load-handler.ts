/**
 * Loads the user's code and finds its handler.
 *
 * A handler is recognised by its shape, in this order:
 *   1. the name given at deploy (`handler`), also a path such as `api.main`;
 *   2. `export default { fetch(request, env, ctx) }`, an object or an instance of a class;
 *   3. `export default function (request, env, ctx)`: a fetch handler, unless it is named `main` or `handler`, or its only
 *      parameter is called `params` or `event`, which makes it one of the next two;
 *   4. `export function main(params)`                       (OpenWhisk);
 *   5. `export const handler = async (event, context)`      (Lambda);
 *   6. `export function fetch(request, env, ctx)`.
 * CommonJS counts alike: `module.exports` is the default export, its properties are named exports.
 */
import { enableCompileCache } from 'node:module'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { COMPILE_CACHE_DIRECTORY } from '../../src/contract/compile-cache.ts'
import { PlatformError } from '../../src/contract/errors.ts'
import { threw } from './invocation.ts'
import { locateSyntaxError, type StackTrimmer } from './stack.ts'

export type AnyFunction = (...args: unknown[]) => unknown

export interface Handler {
  readonly shape: 'fetch' | 'main' | 'handler'
  /** Bound to its object, where it has one. */
  readonly run: AnyFunction
  /** Declared parameters: `handler` with three takes a callback. */
  readonly parameters: number
}

/** @throws PlatformError CODE_INVALID, INIT_FAILED or HANDLER_NOT_FOUND. */
export async function loadHandler(root: string, entry: string, name: string | undefined, stacks: StackTrimmer): Promise<Handler> {
  const cache = join(root, COMPILE_CACHE_DIRECTORY)
  // The cache is read-only here: Node reads what is there, and fails silently to add to it.
  if (existsSync(cache)) enableCompileCache(cache)
  const exports = await importEntry(root, entry, stacks)
  const handler = name === undefined ? recognise(exports) : named(exports, name)
  if (handler !== undefined) return handler
  const found = exportNames(exports)
  const seen = found.length === 0 ? 'it exports nothing' : `it exports ${found.join(', ')}`
  throw new PlatformError(
    'HANDLER_NOT_FOUND',
    name === undefined
      ? `No handler in "${entry}": ${seen}. Export a default object with fetch(request), or a function main(params) or handler(event, context).`
      : `No function "${name}" in "${entry}": ${seen}. Deploy with one of these as the handler.`,
    { details: { entry, exports: found } },
  )
}

async function importEntry(root: string, entry: string, stacks: StackTrimmer): Promise<Record<string, unknown>> {
  const path = join(root, entry)
  if (!existsSync(path)) throw new PlatformError('CODE_INVALID', `The code has no file "${entry}". Deploy it with an entry that exists.`, { details: { entry } })
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>
  } catch (error) {
    if (error instanceof SyntaxError) {
      const place = locateSyntaxError(error, root, entry)
      const message = stacks.relative(error.message)
      throw new PlatformError('CODE_INVALID', `${place ?? entry}: ${message}`, { cause: error, details: { entry, ...(place !== undefined && { place }) } })
    }
    const { message, functionStack } = threw(error)
    throw new PlatformError('INIT_FAILED', `"${entry}" failed while it was loaded: ${stacks.relative(message)}`, { cause: error, ...(functionStack !== undefined && { functionStack }) })
  }
}

function recognise(exports: Record<string, unknown>): Handler | undefined {
  for (const scope of scopes(exports)) {
    const handler = fromDefault(scope['default']) ?? member(scope, 'main', 'main') ?? member(scope, 'handler', 'handler') ?? member(scope, 'fetch', 'fetch')
    if (handler !== undefined) return handler
  }
  return undefined
}

function fromDefault(value: unknown): Handler | undefined {
  if (typeof value === 'function') return { shape: shapeOfFunction(value as AnyFunction), run: value as AnyFunction, parameters: value.length }
  if (typeof value !== 'object' || value === null) return undefined
  const { fetch } = value as { fetch?: unknown }
  return typeof fetch === 'function' ? { shape: 'fetch', run: fetch.bind(value) as AnyFunction, parameters: fetch.length } : undefined
}

function shapeOfFunction(run: AnyFunction): Handler['shape'] {
  if (run.name === 'main') return 'main'
  if (run.name === 'handler' && run.length >= 2) return 'handler'
  const parameter = /^(?:async\s*)?(?:function\s*[\w$]*\s*)?\(?\s*([\w$]+)/.exec(Function.prototype.toString.call(run))?.[1]
  if (parameter === 'params') return 'main'
  return parameter === 'event' ? 'handler' : 'fetch'
}

function member(scope: Record<string, unknown>, name: string, shape: Handler['shape']): Handler | undefined {
  const value = scope[name]
  return typeof value === 'function' ? { shape, run: value.bind(scope) as AnyFunction, parameters: value.length } : undefined
}

/** A named handler: its shape follows from its name; any other name takes (params), or (event, context) with two parameters. */
function named(exports: Record<string, unknown>, name: string): Handler | undefined {
  const path = name.split('.')
  const last = path.at(-1)!
  for (const scope of scopes(exports)) {
    let owner: unknown = scope
    for (const step of path.slice(0, -1)) owner = (owner as Record<string, unknown> | undefined)?.[step]
    const value = (owner as Record<string, unknown> | undefined)?.[last]
    if (last === 'default' || (typeof value === 'object' && value !== null)) {
      const handler = fromDefault(value)
      if (handler !== undefined) return handler
    }
    if (typeof value !== 'function') continue
    const shape = last === 'fetch' || last === 'main' || last === 'handler' ? last : value.length >= 2 ? 'handler' : 'main'
    return { shape, run: value.bind(owner === exports ? undefined : owner) as AnyFunction, parameters: value.length }
  }
  return undefined
}

/** Where exports may lie: the module itself, `module.exports` of CommonJS, and what a transpiler made of a default export. */
function scopes(exports: Record<string, unknown>): Record<string, unknown>[] {
  const found = [exports]
  const inner = exports['default']
  if (typeof inner === 'object' && inner !== null) found.push(inner as Record<string, unknown>)
  return found
}

function exportNames(exports: Record<string, unknown>): string[] {
  const names = scopes(exports).flatMap((scope) => Object.keys(scope))
  return [...new Set(names)].filter((name) => name !== 'module.exports' && name !== '__esModule').slice(0, 20)
}
