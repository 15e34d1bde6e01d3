/**
 * A function that brings a stored object to where functions without network can get it.
 *
 * It has the network and no secret: the address it is given is signed, for this object and for a while (presigned-urls.ts). The bytes go from the
 * bucket into the platform's memory, and the answer is their reference; they never go through the program that asked.
 */
import { put } from 'skep'
import { wholeLines } from './whole-lines.ts'

export interface ReadOrder {
  /** Presigned. */
  readonly url: string
  readonly from: number
  readonly to: number
  readonly size: number
}

export async function main({ url, from, to, size }: ReadOrder): Promise<{ readonly reference: string }> {
  const whole = from === 0 && to === size
  // One byte before: whether a line begins exactly here. Open at the end: the last line goes on behind it.
  const headers: Record<string, string> = whole || size === 0 ? {} : { range: `bytes=${Math.max(0, from - 1)}-` }
  const response = await fetch(url, { headers })
  if (!response.ok) throw new Error(`The object answered ${response.status}: ${(await response.text()).slice(0, 300)}`)
  const bytes = (response.body ?? new Response('').body!) as AsyncIterable<Uint8Array>
  return { reference: await put(whole ? bytes : wholeLines(bytes, from, to), { retrievals: 1 }) }
}
