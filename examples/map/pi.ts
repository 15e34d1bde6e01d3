/**
 * Pi by Monte Carlo: random points of a square, and how many of them lie in the circle. From examples/map: node pi.ts [calls] [points per call]
 *
 * Every call has a seed of its own, so that the answer is the same each time.
 */
import { Executor } from '../../clients/map/main.ts'

export interface Throws {
  readonly seed: number
  readonly points: number
}

export function inCircle({ seed, points }: Throws): number {
  let state = seed * 0x9e3779b9 >>> 0
  // Mulberry32 (Tommy Ettinger).
  const random = (): number => {
    state = state + 0x6d2b79f5 >>> 0
    let mixed = Math.imul(state ^ state >>> 15, state | 1)
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61)
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32
  }
  let inside = 0
  for (let point = 0; point < points; point++) {
    const [x, y] = [random(), random()]
    if (x * x + y * y < 1) inside++
  }
  return inside
}

if (import.meta.main) {
  const [calls = 20, points = 1_000_000] = process.argv.slice(2).map(Number)
  await using run = new Executor()
  const inside = await run.results(run.map(inCircle, Array.from({ length: calls }, (_, seed) => ({ seed, points }))))
  console.log(4 * inside.reduce((sum, count) => sum + count, 0) / (calls * points))
}
