/**
 * The numbers of products: what json-serdes has in its catalogue, and what its inputs order of it.
 */
import { wordOf } from './words.ts'

export const PRODUCTS = 45_000
/** So many are on sale, spread all over the catalogue. */
export const ON_SALE = 1300

/** The number that product `index` of the catalogue is ordered by. */
export function skuOf(index: number): string {
  return `${wordOf(index % 300)}-${String(index)}`
}

/** @param index Below {@link ON_SALE}. */
export function skuOnSale(index: number): string {
  return skuOf(index * 34 + 7)
}
