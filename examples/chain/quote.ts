/**
 * A quote for several articles: asks the function `price` for each, all at once, and adds up.
 *
 * The calls stay inside the platform: no HTTP, no address, no key. They share this invocation's trace and deadline. An
 * article that has no price is named in the answer and does not spoil the rest.
 */
import { invoke, SkepError } from 'skep'
import type { Price } from './price.ts'

interface Line {
  readonly sku: string
  readonly quantity: number
}

export interface Quote {
  readonly lines: readonly Price[]
  readonly refused: readonly { readonly sku: string; readonly reason: string }[]
  readonly totalCents: number
}

export async function main(params: { lines?: readonly Line[] }): Promise<Quote | { statusCode: number; error: string }> {
  if (!Array.isArray(params.lines)) return { statusCode: 400, error: 'There is nothing to quote: send {"lines": [{"sku": "TEA-GRN", "quantity": 12}]}.' }
  const answers = await Promise.all((params.lines as readonly Line[]).map(priceOf))
  const lines = answers.filter((answer) => 'totalCents' in answer)
  const refused = answers.filter((answer) => 'reason' in answer)
  return { lines, refused, totalCents: lines.reduce((sum, line) => sum + line.totalCents, 0) }
}

async function priceOf(line: Line): Promise<Price | { sku: string; reason: string }> {
  try {
    return await invoke<Price>('price', line)
  } catch (error) {
    // It answered, and said no. Anything else (no such function, no time left) fails this function too.
    if (error instanceof SkepError && error.code === 'FUNCTION_THREW') return { sku: line.sku, reason: error.message }
    throw error
  }
}
