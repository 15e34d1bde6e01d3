/** From values to pixels, with ticks at round numbers: linear from zero, and logarithmic. Pure. */

export interface Scale {
  readonly kind: 'linear' | 'log'
  readonly domain: readonly [number, number]
  /** Pixels of a value; outside of the domain it goes on. */
  at(value: number): number
  readonly ticks: readonly number[]
}

const FINE_TICKS_MAX = 9

export interface ScaleOptions {
  /** Values that have to fit. */
  readonly values: readonly number[]
  readonly range: readonly [number, number]
  /** About so many ticks. Default 5. */
  readonly ticks?: number
}

/** From zero to a round number that is at least the greatest value. */
export function linearScale({ values, range: [from, to], ticks: wanted = 5 }: ScaleOptions): Scale {
  const greatest = Math.max(0, ...values.filter(Number.isFinite))
  const step = roundStep((greatest === 0 ? 1 : greatest) / wanted)
  const top = tidy(step * Math.max(1, Math.ceil(greatest / step - 1e-9)))
  const count = Math.round(top / step)
  return { kind: 'linear', domain: [0, top], at: (value) => from + ((to - from) * value) / top, ticks: Array.from({ length: count + 1 }, (_, index) => tidy(index * step)) }
}

/** From a power of the base at or below the least value to one at or above the greatest. Values that are not above zero are left out. */
export function logScale({ values, range: [from, to], base = 10 }: ScaleOptions & { readonly base?: 2 | 10 }): Scale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value))
  const power = (value: number): number => (base === 2 ? Math.log2(value) : Math.log10(value))
  const low = positive.length === 0 ? 0 : Math.floor(power(Math.min(...positive)) + 1e-9)
  const high = Math.max(low + 1, positive.length === 0 ? 1 : Math.ceil(power(Math.max(...positive)) - 1e-9))
  const ticks = Array.from({ length: high - low + 1 }, (_, index) => tidy(base ** (low + index)))
  return { kind: 'log', domain: [ticks[0]!, ticks.at(-1)!], at: (value) => from + ((to - from) * (power(value) - low)) / (high - low), ticks }
}

/** Logarithmic from and to 1, 2 or 5 times a power of ten, so that values of one decade fill the axis; over many decades as logScale. */
export function fineLogScale({ values, range: [from, to] }: ScaleOptions): Scale {
  const positive = values.filter((value) => value > 0 && Number.isFinite(value))
  const [least, greatest] = positive.length === 0 ? [1, 10] : [positive.reduce((a, b) => Math.min(a, b)), positive.reduce((a, b) => Math.max(a, b))]
  const low = roundStep(least) > least * (1 + 1e-9) ? stepBelow(roundStep(least)) : roundStep(least)
  const high = Math.max(roundStep(greatest), roundStep(low * 1.01))
  const fine: number[] = []
  for (let tick = low; tick <= high * (1 + 1e-9); tick = roundStep(tick * 1.01)) fine.push(tidy(tick))
  if (fine.length > FINE_TICKS_MAX) return logScale({ values, range: [from, to] })
  const [start, end] = [Math.log10(low), Math.log10(high)]
  return { kind: 'log', domain: [tidy(low), tidy(high)], at: (value) => from + ((to - from) * (Math.log10(value) - start)) / (end - start), ticks: fine }
}

function stepBelow(step: number): number {
  const power = 10 ** Math.floor(Math.log10(step) + 1e-9)
  const lead = Math.round(step / power)
  return lead === 1 ? power / 2 : lead === 2 ? power : 2 * power
}

/** 1, 2 or 5 times a power of ten, at least as much as asked. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least * (1 - 1e-9))!
}

/** Without what binary fractions leave at the end: 0.3, not 0.30000000000000004. */
function tidy(value: number): number {
  return Number(value.toPrecision(12))
}

/** A value as people read it beside a mark: three digits, thousands apart. */
export function say(value: number): string {
  if (value === 0) return '0'
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  const [whole, fraction] = (Math.abs(value) < 0.01 ? String(Number(value.toPrecision(2))) : value.toFixed(digits)).split('.') as [string, string | undefined]
  const rest = fraction?.replace(/0+$/, '') ?? ''
  return whole.replace(/\B(?=(\d{3})+$)/g, '\u202f') + (rest === '' ? '' : `.${rest}`)
}

/** Empty for what is no ratio. */
export function times(ratio: number): string {
  return Number.isFinite(ratio) ? `${ratio.toFixed(1)}×` : ''
}
