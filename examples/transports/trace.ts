/**
 * Where the time of a run goes: spans, measured in each function and sent back with its answer, and the critical path through them.
 *
 * The critical path is found from the end: what was waited for last, before it what had to end before that could begin, and so on. In a function, time
 * that belongs to no put, get or invocation is its computing. In an invocation, time that does not belong to the called function is the platform's.
 *
 * Source: thesis figure 6.9 (the longest-running mapper and reducer there); the walk is that of critical-path analysis of distributed traces.
 *
 * Invariants:
 *   T1. The parts of a critical path add up to the span that it goes through, exactly.
 */

export type SpanKind = 'function' | 'put' | 'get' | 'invoke' | 'read' | 'write'

export interface Span {
  readonly kind: SpanKind
  /** The function that it happened in; of `invoke`, the function that is called. */
  readonly name: string
  /** Epoch ms, with fractions. Functions of one machine share a clock. */
  readonly startMs: number
  readonly endMs: number
  /** Of put, get, read and write. */
  readonly bytes?: number
  /** Of put: what names the object in the storage, to remove it. */
  readonly key?: string
  readonly spans: readonly Span[]
}

/** Epoch ms with fractions. */
export function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

/** `mapper compute` and the like. */
export function phaseOf({ kind, name }: Span): string {
  return `${name} ${kind === 'function' ? 'compute' : kind}`
}

/** Milliseconds per phase on the critical path, in the order of time. */
export function criticalPath(root: Span): Record<string, number> {
  const parts: { readonly phase: string; readonly ms: number }[] = []
  walk(root, root.startMs, root.endMs, parts)
  const phases: Record<string, number> = {}
  for (const { phase, ms } of parts.reverse()) phases[phase] = (phases[phase] ?? 0) + ms
  return phases
}

function walk(span: Span, fromMs: number, untilMs: number, parts: { phase: string; ms: number }[]): void {
  const phase = phaseOf(span)
  const add = (ms: number): void => void (ms > 0 && parts.push({ phase, ms }))
  let atMs = untilMs
  for (const one of [...span.spans].sort((a, b) => b.endMs - a.endMs)) {
    const endMs = Math.min(one.endMs, untilMs)
    const startMs = Math.max(one.startMs, fromMs)
    // What was still running when the next one began was not waited for by it.
    if (endMs > atMs || startMs >= endMs) continue
    add(atMs - endMs)
    walk(one, startMs, endMs, parts)
    atMs = startMs
  }
  add(atMs - fromMs)
}

/** All spans below one, and it. */
export function* spansOf(root: Span): Generator<Span> {
  yield root
  for (const one of root.spans) yield* spansOf(one)
}
