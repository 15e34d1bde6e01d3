/**
 * Server-sent events: counts the primes up to `?limit=` in `?steps=` steps, and sends an event after each.
 *
 * The next step is computed when the client has taken the last one, and none after it has gone away: a stream is pulled.
 */
import { setImmediate as turn } from 'node:timers/promises'

const LIMIT_MAX = 1e9
const STEPS_MAX = 1000

export default {
  fetch(request: Request): Response {
    const { searchParams } = new URL(request.url)
    const limit = Number(searchParams.get('limit') ?? 10_000_000)
    const steps = Number(searchParams.get('steps') ?? 10)
    if (!isWhole(limit, LIMIT_MAX) || !isWhole(steps, STEPS_MAX)) {
      return Response.json({ error: { code: 'INPUT_INVALID', message: `limit must be a whole number from 1 to ${LIMIT_MAX}, and steps one from 1 to ${STEPS_MAX}.` } }, { status: 400 })
    }
    const small = smallPrimes(Math.floor(Math.sqrt(limit)))
    let step = 0
    let count = 0
    const encoder = new TextEncoder()
    const events = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        // Other invocations of this instance get their turn.
        await turn()
        const from = Math.floor((limit * step) / steps) + 1
        const upTo = Math.floor((limit * ++step) / steps)
        count += primesBetween(from, upTo, small)
        controller.enqueue(encoder.encode(`id: ${step}\nevent: progress\ndata: ${JSON.stringify({ upTo, primes: count })}\n\n`))
        if (step === steps) controller.close()
      },
    }, { highWaterMark: 0 })
    return new Response(events, { headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' } })
  },
}

/** Sieve of Eratosthenes over one segment; `small` holds the primes up to the root of `to`. */
function primesBetween(from: number, to: number, small: readonly number[]): number {
  const composite = new Uint8Array(Math.max(0, to - from + 1))
  if (from <= 1 && to >= 1) composite[1 - from] = 1
  for (const prime of small) {
    if (prime * prime > to) break
    for (let at = Math.max(prime * prime, Math.ceil(from / prime) * prime); at <= to; at += prime) composite[at - from] = 1
  }
  let count = 0
  for (const flag of composite) count += 1 - flag
  return count
}

function smallPrimes(to: number): number[] {
  const primes: number[] = []
  for (let at = 2; at <= to; at++) if (primes.every((prime) => prime * prime > at || at % prime !== 0)) primes.push(at)
  return primes
}

function isWhole(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= max
}
