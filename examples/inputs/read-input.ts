/** For tests and benchmarks: what the examples are run on. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const examplesDirectory = join(import.meta.dirname, '..')

export function readInput(name: 'landscape.png' | 'book.txt' | 'orders.json' | 'sales.csv' | 'stock.json'): Buffer<ArrayBuffer> {
  return Buffer.from(readFileSync(join(import.meta.dirname, name)))
}
