/**
 * Counters, gauges and histograms, and their Prometheus text (exposition format 0.0.4).
 *
 * Labels are resolved once to a handle (`family.with({ function: 'f' })`), and the hot path only ever touches the handle:
 * `handle.add(1)` is an addition. Own code because the client libraries look labels up on each call, and the format is small.
 *
 * Invariants:
 *   P1. A family has at most `setsMax` label sets. Further ones share one handle whose label values are all `_other`, and
 *       skep_metric_sets_refused_total counts each refusal: memory is bounded, and nothing is lost from the sums.
 *       (No name of the platform begins with `_`, so `_other` is never somebody's function.)
 *   P2. Names and label names are checked when a family is made (a bug otherwise); label values may be anything.
 */
import assert from 'node:assert/strict'
import { LogLinear } from './log-linear.ts'

/** A number that only grows. */
export class Counter {
  #value = 0

  /** @param amount Not negative. */
  add(amount: number): void {
    if (amount > 0) this.#value += amount
  }

  get value(): number {
    return this.#value
  }
}

export class Gauge {
  #value = 0

  set(value: number): void {
    this.#value = value
  }

  /** @param amount May be negative. */
  add(amount: number): void {
    this.#value += amount
  }

  get value(): number {
    return this.#value
  }
}

/** Values in fixed log-linear buckets; `observe` takes the family's raw unit, e.g. µs. */
export class Histogram {
  readonly counts = new LogLinear({ wide: true })

  observe(value: number): void {
    this.counts.observe(value)
  }
}

/** The value of each label of a family. */
export type Labels<Label extends string> = Readonly<Record<Label, string>>

export interface FamilyOptions<Label extends string> {
  readonly name: string
  readonly help: string
  readonly labels?: readonly Label[]
  /** Most label sets (P1). Raising it costs memory and the scraper's patience. Default 1000. */
  readonly setsMax?: number
}

export interface HistogramOptions<Label extends string> extends FamilyOptions<Label> {
  /** What one raw unit is in the unit of the name: 1e-6 for a name in seconds observed in µs. Default 1. */
  readonly scale?: number
  /** The powers of two of the raw unit that are exposed as `le`, ascending. Default: every second one, 2^6 to 2^26 (64 µs to 67 s). */
  readonly exposed?: readonly number[]
}

const OTHER = '_other'
const exposedDefault: readonly number[] = [6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26]

export class Family<Handle, Label extends string = never> {
  readonly name: string
  readonly #labels: readonly Label[]
  readonly #setsMax: number
  readonly #make: () => Handle
  readonly #refused: () => void
  readonly #sets = new Map<string, { readonly text: string; readonly handle: Handle }>()
  #other: { readonly text: string; readonly handle: Handle } | undefined

  constructor(options: FamilyOptions<Label>, make: () => Handle, refused: () => void) {
    this.name = options.name
    this.#labels = options.labels ?? []
    this.#setsMax = options.setsMax ?? 1000
    this.#make = make
    this.#refused = refused
  }

  /** The handle of these label values: the same one for the same values. Resolve once and keep it. */
  with(labels: Labels<Label>): Handle {
    const key = this.#key(labels)
    const known = this.#sets.get(key)
    if (known !== undefined) return known.handle
    if (this.#sets.size >= this.#setsMax) {
      this.#refused()
      this.#other ??= { text: labelText(this.#labels, () => OTHER), handle: this.#make() }
      return this.#other.handle
    }
    const set = { text: labelText(this.#labels, (label) => labels[label]), handle: this.#make() }
    this.#sets.set(key, set)
    return set.handle
  }

  /** Forgets these label values, e.g. of a deleted function, and so makes room. Handles of them count on, unseen. */
  remove(labels: Labels<Label>): void {
    this.#sets.delete(this.#key(labels))
  }

  /** @returns Each label set's text, `a="1",b="2"`, and its handle. */
  *sets(): Iterable<{ readonly text: string; readonly handle: Handle }> {
    yield* this.#sets.values()
    if (this.#other !== undefined) yield this.#other
  }

  #key(labels: Labels<Label>): string {
    const only = this.#labels.length === 1 ? labels[this.#labels[0]!] : undefined
    return only ?? JSON.stringify(this.#labels.map((label) => labels[label]))
  }
}

type Kind = 'counter' | 'gauge' | 'histogram'

interface Registered {
  /** Kind and labels, to be compared. */
  readonly shape: string
  /** Its HELP and TYPE. */
  readonly head: string
  readonly family: unknown
  readonly expose: () => Iterable<string>
}

/** All metrics of a process. */
export class Metrics {
  readonly #registered = new Map<string, Registered>()
  readonly #beforeExpose = new Set<() => void>()
  readonly #refused = this.counter({
    name: 'skep_metric_sets_refused_total',
    help: 'Label sets that a metric had no room for: they are counted together as _other.',
    labels: ['metric'],
    setsMax: 10_000,
  })

  counter<const Label extends string = never>(options: FamilyOptions<Label>): Family<Counter, Label> {
    return this.#register('counter', options, () => new Counter(), exposeNumbers)
  }

  gauge<const Label extends string = never>(options: FamilyOptions<Label>): Family<Gauge, Label> {
    return this.#register('gauge', options, () => new Gauge(), exposeNumbers)
  }

  histogram<const Label extends string = never>(options: HistogramOptions<Label>): Family<Histogram, Label> {
    return this.#register('histogram', options, () => new Histogram(), (family) => exposeHistograms(family, options))
  }

  /** Runs before each exposition: to set gauges whose value nobody needs in between. @returns a function that ends it. */
  beforeExpose(callback: () => void): () => void {
    this.#beforeExpose.add(callback)
    return () => this.#beforeExpose.delete(callback)
  }

  /** The text of /metrics. Content-Type: {@link EXPOSITION_TYPE}. */
  expose(): string {
    return [...this.parts()].join('')
  }

  /** The same in parts of about 64 KB: with thousands of series, let other work run between two of them. */
  *parts(): Iterable<string> {
    for (const callback of this.#beforeExpose) callback()
    let part = ''
    for (const registered of this.#registered.values()) {
      part += registered.head
      for (const lines of registered.expose()) {
        part += lines
        if (part.length < PART_CHARS) continue
        yield part
        part = ''
      }
    }
    yield part
  }

  #register<Handle, Label extends string>(
    kind: Kind,
    options: FamilyOptions<Label>,
    make: () => Handle,
    expose: (family: Family<Handle, Label>) => Iterable<string>,
  ): Family<Handle, Label> {
    const labels = options.labels ?? []
    assert(/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(options.name), `metric name ${options.name}`)
    for (const label of labels) assert(/^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/.test(label) && label !== 'le', `label ${label} of ${options.name}`)
    const shape = JSON.stringify([kind, labels])
    const known = this.#registered.get(options.name)
    if (known !== undefined) {
      assert.equal(shape, known.shape, `metric ${options.name} is already there with another kind or other labels`)
      return known.family as Family<Handle, Label>
    }
    const family: Family<Handle, Label> = new Family(options, make, () => this.#refused.with({ metric: options.name }).add(1))
    const head = `# HELP ${options.name} ${escapeHelp(options.help)}\n# TYPE ${options.name} ${kind}\n`
    this.#registered.set(options.name, { shape, family, head, expose: () => expose(family) })
    return family
  }
}

const PART_CHARS = 64 * 1024

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

function* exposeNumbers<Label extends string>(family: Family<Counter | Gauge, Label>): Iterable<string> {
  for (const { text, handle } of family.sets()) yield `${family.name}${text === '' ? '' : `{${text}}`} ${numberText(handle.value)}\n`
}

function* exposeHistograms<Label extends string>(family: Family<Histogram, Label>, options: HistogramOptions<Label>): Iterable<string> {
  const { scale = 1, exposed = exposedDefault } = options
  // Twelve digits say each bound exactly enough, and hide that 64 * 1e-6 is not quite 0.000064.
  const bounds = exposed.map((exponent) => `le="${Number((2 ** exponent * scale).toPrecision(12))}"} `)
  for (const { text, handle } of family.sets()) {
    const { counts } = handle
    const bucket = `${family.name}_bucket{${text === '' ? '' : `${text},`}`
    const labels = text === '' ? '' : `{${text}}`
    let lines = ''
    for (const [index, count] of counts.countsUpTo(exposed).entries()) lines += `${bucket}${bounds[index]}${count}\n`
    yield `${lines}${bucket}le="+Inf"} ${counts.count}\n${family.name}_sum${labels} ${numberText(counts.sum * scale)}\n${family.name}_count${labels} ${counts.count}\n`
  }
}

function labelText<Label extends string>(labels: readonly Label[], value: (label: Label) => string): string {
  return labels.map((label) => `${label}="${escapeLabel(value(label))}"`).join(',')
}

function escapeLabel(value: string): string {
  return String(value).replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}

function numberText(value: number): string {
  if (value === Infinity) return '+Inf'
  return value === -Infinity ? '-Inf' : String(value)
}
