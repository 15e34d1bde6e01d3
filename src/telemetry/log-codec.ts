/**
 * How lines of functions lie in a journal: many in a row.
 *
 *   [{"v":1,"w":"3k.m1x","n":4},     who wrote the row, and its number among that writer's rows
 *   [1700000000000,"0190…",4,"hi"],  time, invocation, level (contract/frames.ts, LogLevel), text
 *   …]
 */
import { LogLevel } from '#contract/frames.ts'
import type { LogLine } from '#contract/invocation-record.ts'

export interface LogHead {
  readonly v: 1
  readonly w: string
  readonly n: number
}

const levelNames = Object.keys(LogLevel) as LogLine['level'][]

export function encodeLines(head: LogHead, lines: readonly LogLine[]): string {
  let row = `[${JSON.stringify(head)}`
  for (const line of lines) row += `,\n[${line.atMs},"${line.invocation}",${LogLevel[line.level]},${JSON.stringify(line.text)}]`
  return row + ']'
}

/** @returns undefined when the row is not one of {@link encodeLines}. */
export function decodeLines(row: string): { readonly head: LogHead; readonly lines: LogLine[] } | undefined {
  if (!row.startsWith('[{"v":1,')) return undefined
  try {
    const [head, ...lines] = JSON.parse(row) as [LogHead, ...[number, string, number, string][]]
    return { head, lines: lines.map(([atMs, invocation, level, text]) => ({ atMs, invocation, level: levelNames[level] ?? 'info', text })) }
  } catch {
    return undefined
  }
}
