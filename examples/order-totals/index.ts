/**
 * Turns an export of orders into totals per customer, largest first, and per country.
 *
 * Amounts are whole cents from start to end; a discount is rounded once per line. Cancelled orders count for nothing.
 */
interface Order {
  readonly id: string
  readonly placedAt: string
  readonly status: 'open' | 'shipped' | 'cancelled'
  readonly customer: { readonly id: string; readonly name: string; readonly country: string }
  readonly lines: readonly OrderLine[]
}

interface OrderLine {
  readonly sku: string
  readonly quantity: number
  readonly unitCents: number
  readonly discountPercent?: number
}

export interface CustomerTotal {
  readonly id: string
  readonly name: string
  readonly orders: number
  readonly items: number
  readonly totalCents: number
  /** Bought most, by items; of equals the first by name. */
  readonly favourite: string
  readonly lastOrderAt: string
}

export interface OrderTotals {
  readonly orders: number
  readonly cancelled: number
  readonly totalCents: number
  readonly customers: readonly CustomerTotal[]
  readonly countries: Readonly<Record<string, number>>
}

export function main(params: { orders?: readonly Order[] }): OrderTotals | { statusCode: number; error: string } {
  const { orders } = params
  if (!Array.isArray(orders)) return { statusCode: 400, error: 'There are no orders: send {"orders": [{"id", "placedAt", "status", "customer", "lines"}, …]}.' }
  const counted = (orders as readonly Order[]).filter((order) => order.status !== 'cancelled')
  const byCustomer = Map.groupBy(counted, (order) => order.customer.id)
  const customers = [...byCustomer.values()].map(totalOf).sort((a, b) => b.totalCents - a.totalCents || (a.id < b.id ? -1 : 1))
  const countries: Record<string, number> = {}
  for (const order of counted) countries[order.customer.country] = (countries[order.customer.country] ?? 0) + sumOf(order.lines, centsOf)
  const totalCents = customers.reduce((sum, customer) => sum + customer.totalCents, 0)
  console.log(`${counted.length} orders of ${customers.length} customers`)
  return { orders: counted.length, cancelled: orders.length - counted.length, totalCents, customers, countries }
}

/** @param orders Of one customer, at least one. */
function totalOf(orders: readonly Order[]): CustomerTotal {
  const lines = orders.flatMap((order) => order.lines)
  const bought = new Map<string, number>()
  for (const line of lines) bought.set(line.sku, (bought.get(line.sku) ?? 0) + line.quantity)
  const [favourite = ''] = [...bought].sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))[0] ?? []
  return {
    id: orders[0]!.customer.id,
    name: orders[0]!.customer.name,
    orders: orders.length,
    items: sumOf(lines, (line) => line.quantity),
    totalCents: sumOf(lines, centsOf),
    favourite,
    lastOrderAt: orders.reduce((last, order) => (order.placedAt > last ? order.placedAt : last), ''),
  }
}

function centsOf(line: OrderLine): number {
  return Math.round((line.quantity * line.unitCents * (100 - (line.discountPercent ?? 0))) / 100)
}

function sumOf<T>(list: readonly T[], value: (item: T) => number): number {
  return list.reduce((sum, item) => sum + value(item), 0)
}
