/**
 * console: entries of the invocation's log, with the levels that runtimes/node/output.ts gives to its methods.
 */
import type { LogLevelName } from '../../../../src/contract/frames.ts'
import { HostOp } from '../ops.ts'
import { host } from './host.ts'
import { format, inspect, type InspectOptions } from './inspect.ts'

let groupIndent = ''
const counts = new Map<string, number>()
const begun = new Map<string, number>()

export function log(level: LogLevelName, text: string): void {
  host(HostOp.log, level, text.toWellFormed())
}

function print(level: LogLevelName, text: string): void {
  log(level, groupIndent === '' ? text : groupIndent + text.replaceAll('\n', `\n${groupIndent}`))
}

function elapsed(label: string): string {
  const ms = performance.now() - (begun.get(label) ?? performance.now())
  return `${label}: ${ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${Number(ms.toFixed(3))}ms`}`
}

export const webConsole = {
  log: (...args: unknown[]) => print('info', format(args)),
  info: (...args: unknown[]) => print('info', format(args)),
  debug: (...args: unknown[]) => print('debug', format(args)),
  warn: (...args: unknown[]) => print('warn', format(args)),
  error: (...args: unknown[]) => print('error', format(args)),
  trace: (...args: unknown[]) => print('error', `Trace${args.length === 0 ? '' : `: ${format(args)}`}\n${(new Error().stack ?? '').trimEnd()}`),
  dir: (value: unknown, options?: InspectOptions) => print('info', inspect(value, options)),
  dirxml: (...args: unknown[]) => print('info', format(args)),
  assert: (condition: unknown, ...args: unknown[]) => {
    if (!condition) print('warn', args.length === 0 ? 'Assertion failed' : typeof args[0] === 'string' ? format([`Assertion failed: ${args[0]}`, ...args.slice(1)]) : format(['Assertion failed:', ...args]))
  },
  group: (...args: unknown[]) => {
    if (args.length > 0) print('info', format(args))
    groupIndent += '  '
  },
  groupCollapsed: (...args: unknown[]) => webConsole.group(...args),
  groupEnd: () => {
    groupIndent = groupIndent.slice(2)
  },
  count: (label = 'default') => {
    counts.set(label, (counts.get(label) ?? 0) + 1)
    print('info', `${label}: ${counts.get(label)}`)
  },
  countReset: (label = 'default') => {
    counts.delete(label)
  },
  time: (label = 'default') => {
    begun.set(label, performance.now())
  },
  timeLog: (label = 'default', ...args: unknown[]) => print('info', [elapsed(label), ...args.map((one) => inspect(one))].join(' ')),
  timeEnd: (label = 'default') => {
    print('info', elapsed(label))
    begun.delete(label)
  },
  table: (rows: unknown) => print('info', table(rows)),
  clear: () => undefined,
}

/** Rows and columns with box-drawing characters, as Node's. */
function table(rows: unknown): string {
  if (typeof rows !== 'object' || rows === null) return format([rows])
  const isMap = rows instanceof Map
  const entries: [string, unknown][] = isMap || rows instanceof Set ? [...rows].map((row, index) => [String(index), row]) : Object.entries(rows)
  const columns: string[] = []
  let hasValues = false
  for (const [, row] of entries) {
    if (typeof row === 'object' && row !== null) for (const key of Object.keys(row)) columns.includes(key) || columns.push(key)
    else hasValues = true
  }
  const head = [isMap || rows instanceof Set ? '(iteration index)' : '(index)', ...columns, ...(hasValues ? ['Values'] : [])]
  const cell = (value: unknown): string => inspect(value, { depth: 0 })
  const lines = entries.map(([key, row]) => {
    const isRow = typeof row === 'object' && row !== null
    return [key, ...columns.map((name) => (isRow && Object.hasOwn(row, name) ? cell((row as Record<string, unknown>)[name]) : '')), ...(hasValues ? [isRow ? '' : cell(row)] : [])]
  })
  const widths = head.map((name, at) => Math.max(name.length, ...lines.map((line) => line[at]!.length)) + 2)
  const draw = (line: readonly string[]): string => `│${line.map((text, at) => ` ${text}`.padEnd(widths[at]!)).join('│')}│`
  const rule = (left: string, middle: string, right: string): string => left + widths.map((width) => '─'.repeat(width)).join(middle) + right
  return [rule('┌', '┬', '┐'), draw(head), rule('├', '┼', '┤'), ...lines.map(draw), rule('└', '┴', '┘')].join('\n')
}
