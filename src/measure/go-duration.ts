/**
 * Durations as Go writes them: "300ms", "1.5s", "1h15m30.918s". STeLLAR's service times are such texts.
 *
 * The grammar is that of Go's time.ParseDuration: an optional sign, then numbers with a unit each, largest value 2^63 - 1 ns; "0" alone needs no unit.
 */

const unitNs: Readonly<Record<string, number>> = { ns: 1, us: 1e3, '\u00b5s': 1e3, '\u03bcs': 1e3, ms: 1e6, s: 1e9, m: 60e9, h: 3600e9 }
const part = /(?=\.?\d)(\d*)(?:\.(\d*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/y
const NS_MAX = 2 ** 63

/** Milliseconds with a fraction, exact to the nanosecond up to 104 days; undefined for what is no duration. */
export function parseGoDuration(text: string): number | undefined {
  const sign = text.startsWith('-') ? -1 : 1
  let at = /^[-+]/.test(text) ? 1 : 0
  if (text.slice(at) === '0') return 0
  if (at === text.length) return undefined
  let ns = 0
  while (at < text.length) {
    part.lastIndex = at
    const match = part.exec(text)
    if (match === null) return undefined
    const [whole, digits, fraction = '', unit] = match
    const scale = unitNs[unit!]!
    // What is smaller than a nanosecond is cut off, as in Go. Of the fraction, 15 digits are more than any unit can hold.
    const cut = fraction.slice(0, 15)
    ns += Number(digits) * scale + Math.floor((Number(cut === '' ? '0' : cut) * scale) / 10 ** cut.length)
    if (ns >= NS_MAX) return undefined
    at += whole.length
  }
  return ns === 0 ? 0 : (sign * ns) / 1e6
}
