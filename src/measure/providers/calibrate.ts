/**
 * How many increments a millisecond has on the runtime that is measured, seen from outside: for functions that can't tell time themselves.
 *
 * The original times Go on the client and has every runtime spin that number (reference: determine-busy-spin.go at 6e25342); Python then takes hundreds of times as long.
 *
 *   C1. The spun time is some SPUN_MS: long enough that what the network adds, which is subtracted, is small beside it; and short enough that one of several is not interrupted.
 */
import { PlatformError } from '#contract/errors.ts'

const SPUN_MS = 40
const REPEATS = 8
const FIRST = 100_000
/** Go's int64 in the query, and no runtime is that quick. */
const LAST = 1e12

/** @param takes How long a request with so many increments takes, ms. @throws ANSWER_INVALID when more increments take no longer. */
export async function incrementsPerMs(takes: (increments: number) => Promise<number>): Promise<number> {
  const least = async (increments: number): Promise<number> => {
    let best = Infinity
    for (let repeat = 0; repeat < REPEATS; repeat++) best = Math.min(best, await takes(increments))
    return best
  }
  const emptyMs = await least(0)
  for (let increments = FIRST; increments <= LAST; increments *= 4) {
    if ((await takes(increments)) - emptyMs < SPUN_MS) continue
    const spunMs = (await least(increments)) - emptyMs
    if (spunMs >= SPUN_MS / 2) return increments / spunMs
  }
  throw new PlatformError('ANSWER_INVALID', `The function computes no longer with IncrementLimit=${LAST} than with 0: it does not spin. Deploy one that does, or leave DesiredServiceTimes at 0ms.`)
}
