/**
 * Writes orders.json (an export of a small shop), sales.csv (its tills over a year) and stock.json (its shelves). Own work.
 *
 * Amounts are whole cents inside, so that what tests compute from them is exact. Names hold what programs trip over:
 * commas, quotes, angle brackets, letters beyond ASCII.
 */
import { seededRandom } from '#base/seeded-random.ts'

export const tableSizes = { orders: 360, sales: 20_000, stock: 240 }

const products = [
  { sku: 'TEA-GRN', name: 'Tea, green', cents: 485 }, { sku: 'TEA-BLK', name: 'Tea, black', cents: 425 }, { sku: 'COF-BNS', name: 'Coffee beans', cents: 1290 }, { sku: 'HNY-500', name: 'Honey 500 g', cents: 795 },
  { sku: 'OIL-OLV', name: 'Oil "Olivér"', cents: 1150 }, { sku: 'SLT-SEA', name: 'Sea salt', cents: 240 }, { sku: 'CHC-DRK', name: 'Chocolate, dark', cents: 330 }, { sku: 'RCE-BAS', name: 'Rice', cents: 610 },
  { sku: 'JAM-BLU', name: 'Blåbär jam', cents: 465 }, { sku: 'OAT-ROL', name: 'Oats', cents: 195 }, { sku: 'SOP-OLV', name: 'Soap <olive>', cents: 375 }, { sku: 'CND-BEE', name: 'Candle & stand', cents: 1845 },
] as const
const regions = ['north', 'south', 'east', 'west', 'islands'] as const
const customers = ['Ada Berg', 'Ben Okafor', 'Chloé Martin', 'Dmitri Volkov', 'Elif Şahin', "Fiona O'Neill", 'Goran Kovač', 'Hana Sato', 'Ivo de Vries', 'Jūratė Kazlauskaitė', 'Kofi Mensah', 'Lena Groß', 'Mateo Ríos', 'Nina Dahl', 'Omar Haddad', 'Priya Nair',
  'Quentin Roy', 'Rosa Lindqvist', 'Søren Holm', 'Tomás Silva', 'Uma Patel', 'Viktor Nagy', 'Wiktoria Nowak', 'Xin Li', 'Yara Costa', 'Zoltán Tóth'] as const
const countries = ['SE', 'NG', 'FR', 'BG', 'TR', 'IE', 'HR', 'JP', 'NL', 'LT', 'GH', 'DE', 'ES', 'NO', 'LB', 'IN', 'FR', 'SE', 'DK', 'PT', 'IN', 'HU', 'PL', 'CN', 'BR', 'HU'] as const

const DAY_MS = 86_400_000
const START_MS = Date.UTC(2025, 0, 1)

export function writeOrders(): string {
  const random = seededRandom(360)
  const orders = Array.from({ length: tableSizes.orders }, (_, index) => {
    const customer = Math.floor(random() ** 1.7 * customers.length)
    const lines = Array.from({ length: 1 + Math.floor(random() ** 2 * 6) }, () => {
      const product = pick(products, random)
      return { sku: product.sku, name: product.name, quantity: 1 + Math.floor(random() ** 3 * 9), unitCents: product.cents, ...(random() < 0.15 && { discountPercent: pick([5, 10, 25], random) }) }
    })
    const status = random() < 0.08 ? 'cancelled' : random() < 0.2 ? 'open' : 'shipped'
    const placedAt = new Date(START_MS + Math.floor(((index + random()) * 365 * DAY_MS) / tableSizes.orders)).toISOString()
    return { id: `A-${10_000 + index}`, placedAt, status, customer: { id: `C${String(customer + 1).padStart(3, '0')}`, name: customers[customer], country: countries[customer] }, lines }
  })
  return `{"orders":[\n${orders.map((order) => JSON.stringify(order)).join(',\n')}\n]}\n`
}

export function writeSales(): string {
  const random = seededRandom(20_000)
  const rows = ['date,region,product,quantity,amount']
  for (let index = 0; index < tableSizes.sales; index++) {
    const date = new Date(START_MS + Math.floor((index * 365) / tableSizes.sales) * DAY_MS).toISOString().slice(0, 10)
    const product = products[Math.floor(random() ** 1.4 * products.length)]!
    const quantity = 1 + Math.floor(random() ** 3 * 12)
    rows.push([date, pick(regions, random), quoted(product.name), quantity, (quantity * product.cents) / 100].join(','))
  }
  return `${rows.join('\n')}\n`
}

export function writeStock(): string {
  const random = seededRandom(240)
  const rows = Array.from({ length: tableSizes.stock }, (_, index) => {
    const product = products[index % products.length]!
    const left = Math.floor(random() ** 2 * 400)
    return { place: `${'ABCDEFGH'[Math.floor(index / 30)]!}${String((index % 30) + 1).padStart(2, '0')}`, product: product.name, left, price: product.cents / 100, note: left < 10 ? 'order now: <10 left' : index % 17 === 0 ? 'fragile & "this side up"' : null }
  })
  return `{"title":"Stock & shelves","columns":["place","product","left","price","note"],"rows":[\n${rows.map((row) => JSON.stringify(row)).join(',\n')}\n]}\n`
}

/** RFC 4180: quotes around a field with a comma or a quote, and quotes inside it doubled. */
function quoted(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

function pick<T>(list: readonly T[], random: () => number): T {
  return list[Math.floor(random() * list.length)]!
}
