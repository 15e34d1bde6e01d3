/**
 * How deep one ready instance is in: written in place by its queue proxy, read for every invocation by the balancer.
 */
export interface InstanceLoad {
  /** Handed over and not answered. */
  inFlight: number
  /** Of those, the ones that occupy the instance's CPU or queue behind the one that does: not reported as waiting. */
  computing: number
  /** When it last made progress: a computing invocation was answered or began to wait, or `computing` left 0. Monotonic µs. */
  computingSinceUs: number
  /** When it last was handed an invocation. Monotonic µs. */
  lastUsedUs: number
}
