/**
 * json_serdes of the thesis (Table 5.1): reads orders as JSON, completes them from a catalogue, and writes them as JSON.
 *
 * Loaded before the snapshot: a catalogue of 45,000 products with their descriptions, of which about 1300 are on sale; orders
 * name these. Orders have then gone through already, as a warm-up, so that the heap has room that was used before.
 *
 *   request   {"orders": [{"id": 1, "customer": "…", "lines": [{"sku": "…", "count": 2}]}]}
 *   answer    how many orders, lines and customers, the total, how long the JSON is that was written, and a checksum of what each order
 *             costs and weighs (not of the JSON: in an interpreter, reading all its letters takes longer than making it)
 */
import { ON_SALE, PRODUCTS, skuOf, skuOnSale } from '../kit/products.ts'
import { hex, Random } from '../kit/random.ts'
import { drawRank, wordOf } from '../kit/words.ts'

interface Product {
  readonly sku: string
  readonly name: string
  readonly cents: number
  readonly grams: number
  readonly description: string
  readonly materials: readonly string[]
}

export interface Order {
  readonly id: number
  readonly customer: string
  readonly address: { readonly street: string; readonly town: string; readonly code: string }
  readonly lines: readonly { readonly sku: string; readonly count: number; readonly note?: string }[]
}

const catalogue = loadCatalogue()
serve(JSON.stringify({ orders: sampleOrders() }))

export default {
  async fetch(request: Request): Promise<Response> {
    const text = await request.text()
    try {
      return new Response(serve(text))
    } catch (error) {
      return new Response(`error: ${error instanceof Error ? error.message : String(error)}\n`, { status: 400 })
    }
  },
}

function serve(text: string): string {
  const { orders } = JSON.parse(text) as { readonly orders?: readonly Order[] }
  if (!Array.isArray(orders)) throw new Error('the request is {"orders": […]}')
  const customers = new Map<string, { orders: number; cents: number }>()
  let lineCount = 0
  let total = 0
  let hash = 2_166_136_261
  const completed = (orders as readonly Order[]).map((order) => {
    let cents = 0
    let grams = 0
    const lines = order.lines.map(({ sku, count, note }) => {
      const product = catalogue.get(sku)
      if (product === undefined) throw new Error(`order ${order.id} has the unknown product ${JSON.stringify(sku)}`)
      cents += product.cents * count
      grams += product.grams * count
      return { sku, count, name: product.name, cents: product.cents * count, ...(note !== undefined && { note }) }
    })
    const customer = customers.get(order.customer)
    if (customer === undefined) customers.set(order.customer, { orders: 1, cents })
    else {
      customer.orders += 1
      customer.cents += cents
    }
    lineCount += lines.length
    total += cents
    hash = Math.imul(Math.imul(hash ^ cents, 16_777_619) ^ grams, 16_777_619)
    return { ...order, lines, cents, grams, parcel: grams > 20_000 ? 'pallet' : grams > 2000 ? 'parcel' : 'letter' }
  })
  const best = [...customers].sort((a, b) => b[1].cents - a[1].cents || (a[0] < b[0] ? -1 : 1)).slice(0, 10)
  const written = JSON.stringify({ orders: completed, customers: best })
  return `${orders.length} orders, ${lineCount} lines, ${customers.size} customers, total ${total}, ${written.length} letters, checksum ${hex(hash >>> 0)}\n`
}

function loadCatalogue(): Map<string, Product> {
  const random = new Random(1414)
  const sentences = Array.from({ length: 300 }, () => `${Array.from({ length: 6 + random.below(6) }, () => wordOf(drawRank(random, 5000))).join(' ')}. `)
  const loaded = new Map<string, Product>()
  for (let number = 0; number < PRODUCTS; number++) {
    // Joined, not added up: of added texts the engine keeps the parts.
    const description = Array.from({ length: 4 + random.below(12) }, () => sentences[random.below(300)]!).join('')
    const sku = skuOf(number)
    loaded.set(sku, {
      sku,
      name: `${wordOf(random.below(3000))} ${wordOf(random.below(300))}`,
      cents: 99 + random.below(20_000),
      grams: 20 + random.below(5000),
      description,
      materials: [wordOf(random.below(60)), wordOf(random.below(60))],
    })
  }
  return loaded
}

function sampleOrders(): Order[] {
  return Array.from({ length: 2150 }, (_, id) => ({
    id,
    customer: wordOf(id * 13),
    address: { street: `${wordOf(id)} ${String(id % 90)}`, town: wordOf(id % 70), code: String(10_000 + id) },
    lines: Array.from({ length: 1 + (id % 6) }, (_line, index) => ({ sku: skuOnSale((id * 7 + index) % ON_SALE), count: 1 + (index % 3) })),
  }))
}
