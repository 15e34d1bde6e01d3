/**
 * Rows of the table UserVisits of the AMPLab Big Data Benchmark, generated: the same ones for the same seed.
 *
 *   sourceIP, destURL, visitDate, adRevenue, userAgent, countryCode, languageCode, searchWord, duration
 */
import { seededRandom } from '../transports/seeded-random.ts'

const agents = ['Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64)', 'Opera/9.80 (Macintosh; Intel Mac OS X)', 'Lynx/2.8.9rel.1 libwww-FM/2.14']
const countries = ['AUT', 'BRA', 'CHN', 'DEU', 'FRA', 'IND', 'JPN', 'KEN', 'NOR', 'USA']
const words = ['anchor', 'bridge', 'candle', 'desert', 'engine', 'forest', 'garden', 'harbour', 'island', 'kettle', 'lantern', 'meadow', 'needle', 'orchard', 'pebble', 'river']

export function generateVisits(rows: number, seed: number): string {
  const random = seededRandom(seed)
  const below = (end: number): number => Math.floor(random() * end)
  const one = (list: readonly string[]): string => list[below(list.length)]!
  const lines: string[] = []
  for (let row = 0; row < rows; row++) {
    const country = one(countries)
    const date = `${1980 + below(32)}-${String(1 + below(12)).padStart(2, '0')}-${String(1 + below(28)).padStart(2, '0')}`
    const url = `http://${one(words)}-${one(words)}.example/${one(words)}/${below(100_000)}.html`
    const ip = `${below(256)}.${below(256)}.${below(256)}.${below(256)}`
    const language = `${country.toLowerCase()}-${country}`
    lines.push(`${ip},${url},${date},${random().toFixed(6)},${one(agents)},${country},${language},${one(words)},${1 + below(10)}\n`)
  }
  return lines.join('')
}
