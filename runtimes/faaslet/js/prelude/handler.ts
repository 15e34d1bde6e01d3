/**
 * Recognises the handler of a loaded module by its shape: the rules of runtimes/node/load-handler.ts, word for word
 * (handler.test.ts compares the two on the same modules).
 */
import { PlatformError } from '../../../../src/contract/errors.ts'
import type { Shape } from '../ops.ts'

export type AnyFunction = (...args: unknown[]) => unknown
type Exports = Record<string, unknown>

export interface Handler {
  readonly shape: Shape
  readonly run: AnyFunction
  readonly parameters: number
}

/** @throws PlatformError HANDLER_NOT_FOUND. */
export function findHandler(exports: Exports, name: string | undefined, entry: string): Handler {
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

function recognise(exports: Exports): Handler | undefined {
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

function shapeOfFunction(run: AnyFunction): Shape {
  if (run.name === 'main') return 'main'
  if (run.name === 'handler' && run.length >= 2) return 'handler'
  const parameter = /^(?:async\s*)?(?:function\s*[\w$]*\s*)?\(?\s*([\w$]+)/.exec(Function.prototype.toString.call(run))?.[1]
  if (parameter === 'params') return 'main'
  return parameter === 'event' ? 'handler' : 'fetch'
}

function member(scope: Exports, name: string, shape: Shape): Handler | undefined {
  const value = scope[name]
  return typeof value === 'function' ? { shape, run: value.bind(scope) as AnyFunction, parameters: value.length } : undefined
}

function named(exports: Exports, name: string): Handler | undefined {
  const path = name.split('.')
  const last = path.at(-1)!
  for (const scope of scopes(exports)) {
    let owner: unknown = scope
    for (const step of path.slice(0, -1)) owner = (owner as Exports | undefined)?.[step]
    const value = (owner as Exports | undefined)?.[last]
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

function scopes(exports: Exports): Exports[] {
  const found = [exports]
  const inner = exports['default']
  if (typeof inner === 'object' && inner !== null) found.push(inner as Exports)
  return found
}

function exportNames(exports: Exports): string[] {
  const names = scopes(exports).flatMap((scope) => Object.keys(scope))
  return [...new Set(names)].filter((name) => name !== 'module.exports' && name !== '__esModule').slice(0, 20)
}
