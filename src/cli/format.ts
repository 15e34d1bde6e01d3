/** Numbers, times and tables as people read them; and the other way round for what they type. */
import { stripVTControlCharacters } from 'node:util'
import { PlatformError } from '#contract/errors.ts'

/** µs as ms or s, with three figures at most: 840 µs is "0.84 ms". */
export function duration(us: number): string {
  if (us >= 60e6) return `${(us / 60e6).toFixed(1)} min`
  if (us >= 1e6) return `${figures(us / 1e6)} s`
  return `${figures(us / 1e3)} ms`
}

export function bytes(count: number): string {
  if (count < 1000) return `${count} B`
  if (count < 1e6) return `${figures(count / 1e3)} KB`
  return count < 1e9 ? `${figures(count / 1e6)} MB` : `${figures(count / 1e9)} GB`
}

/** Tiny amounts of money without rounding them away: 0.0000021. */
export function money(amount: number): string {
  if (amount === 0) return '0'
  return amount >= 0.01 ? amount.toFixed(4) : amount.toFixed(12).replace(/^(0\.0*\d{2})\d*$/, '$1').replace(/0+$/, '')
}

export function when(epochMs: number): string {
  return new Date(epochMs).toISOString().replace('T', ' ').replace('Z', '')
}

/** How long ago: "3 min". */
export function ago(epochMs: number, nowMs: number): string {
  const seconds = Math.max(0, Math.round((nowMs - epochMs) / 1000))
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`
}

/** Columns as wide as their widest cell; columns of numbers stand right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...all.map((row) => stripVTControlCharacters(row[column] ?? '').length)))
  const right = head.map((_, column) => rows.length > 0 && rows.every((row) => /^(?:-|[\d.,]+(?: ?[a-zA-Zµ%]+)?|)$/.test(row[column] ?? '')))
  const line = (row: readonly string[]): string =>
    widths.map((width, column) => {
      const cell = row[column] ?? ''
      const padding = ' '.repeat(width - stripVTControlCharacters(cell).length)
      return right[column] === true ? padding + cell : cell + padding
    }).join('  ').trimEnd()
  return all.map(line).join('\n')
}

/** "90", "90s", "15m", "2h", "1d" before now, or an ISO time, as epoch ms. @throws INPUT_INVALID. */
export function parseSince(text: string, nowMs: number): number {
  const relative = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text)
  if (relative !== null) return nowMs - Number(relative[1]) * { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[relative[2] ?? 's']!
  const absolute = Date.parse(text)
  if (Number.isNaN(absolute)) throw new PlatformError('INPUT_INVALID', `${JSON.stringify(text)} is no time. Write how long ago (90s, 15m, 2h, 1d) or a time like 2026-01-31T12:00:00Z.`)
  return absolute
}

/** A whole number in a range. @throws INPUT_INVALID that names the option, the value and the range. */
export function parseWhole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < min || value > max || text.trim() === '') {
    throw new PlatformError('INPUT_INVALID', `${name} is ${JSON.stringify(text)}: it must be a whole number from ${min} to ${max}.`)
  }
  return value
}

function figures(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
