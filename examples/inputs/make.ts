/** Writes the inputs of the examples again: `node examples/inputs/make.ts`. The same bytes each time, wherever it runs. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encodePng } from '../thumbnail/png.ts'
import { writeBook } from './make-book.ts'
import { paintLandscape } from './make-landscape.ts'
import { writeOrders, writeSales, writeStock } from './make-tables.ts'

const files = {
  'landscape.png': encodePng(paintLandscape(), 9),
  'book.txt': writeBook(),
  'orders.json': writeOrders(),
  'sales.csv': writeSales(),
  'stock.json': writeStock(),
}
for (const [name, content] of Object.entries(files)) {
  writeFileSync(join(import.meta.dirname, name), content)
  console.log(`${name}: ${Buffer.byteLength(content)} bytes`)
}
