/** The price of one article: cheaper by the dozen. Called by quote.ts. */
const list: Readonly<Record<string, number>> = { 'TEA-GRN': 485, 'TEA-BLK': 425, 'COF-BNS': 1290, 'HNY-500': 795, 'SLT-SEA': 240 }

export interface Price {
  readonly sku: string
  readonly quantity: number
  readonly unitCents: number
  readonly totalCents: number
}

export function main(params: { sku: string; quantity: number }): Price {
  const { sku, quantity } = params
  const listCents = list[sku]
  if (listCents === undefined) throw new RangeError(`There is no article ${JSON.stringify(sku)}. There are: ${Object.keys(list).join(', ')}.`)
  if (!Number.isInteger(quantity) || quantity < 1) throw new RangeError(`quantity is ${JSON.stringify(quantity)}, and must be a whole number from 1.`)
  const discountPercent = quantity >= 144 ? 20 : quantity >= 12 ? 10 : 0
  const unitCents = Math.round((listCents * (100 - discountPercent)) / 100)
  return { sku, quantity, unitCents, totalCents: unitCents * quantity }
}
