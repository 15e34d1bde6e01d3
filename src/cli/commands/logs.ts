/** `skep logs`: what functions printed, as lines for people or JSON lines for programs. */
import { styleText } from 'node:util'
import type { LogLine } from '#contract/invocation-record.ts'
import type { Context } from '../context.ts'
import { parseSince, parseWhole, when } from '../format.ts'

const levelColours = { debug: 'dim', info: 'cyan', warn: 'yellow', error: 'red', stdout: 'reset', stderr: 'magenta' } as const

export async function logs(context: Context, name: string): Promise<void> {
  const { options } = context
  const query = new URLSearchParams()
  if (options['follow'] === true) query.set('follow', 'true')
  if (options['since'] !== undefined) query.set('since', String(parseSince(options['since'] as string, Date.now())))
  if (options['limit'] !== undefined) query.set('limit', String(parseWhole('--limit', options['limit'] as string, 1, 100_000)))
  const stop = new AbortController()
  // Following ends by Ctrl-C: that is how it is meant to end, so it is no failure.
  if (options['follow'] === true) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const client = await context.client()
  for await (const line of client.lines<LogLine>(`/v1/functions/${encodeURIComponent(name)}/logs?${query}`, stop.signal)) {
    if (options['invocation'] !== undefined && !line.invocation.endsWith(options['invocation'] as string)) continue
    const text = context.json ? JSON.stringify(line) : logText(line, process.stdout.isTTY === true)
    if (!process.stdout.write(`${text}\n`)) await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
}

/** One line: time, the invocation's first characters that tell it apart, level, text. */
export function logText(line: LogLine, colour: boolean): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string => (colour ? styleText(style, text, { validateStream: false }) : text)
  // An id begins with its time: its random end tells neighbours apart.
  const id = line.invocation === '' ? '-'.repeat(8) : line.invocation.slice(-8)
  return `${paint('dim', when(line.atMs))} ${paint('dim', id)} ${paint(levelColours[line.level], line.level.padEnd(6))} ${line.text}`
}
