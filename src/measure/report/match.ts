/**
 * Which sub-experiment of one run is which of another: by what was asked for, not by the place in a file.
 *
 * Two are the same work when factor, payload, chain, bursts, service times and image are. Other settings may differ (a platform has no keep-alive to set, another memory);
 * of several that are the same work, those with the fewest differences go together, and each difference is told.
 *
 *   M1. Each sub-experiment is in at most one pair. The order of either run changes nothing but the order of the pairs.
 */
import { burstOf, transferOf } from './classify.ts'
import type { KnownSettings } from './classify.ts'
import type { LoadedRun, LoadedSubExperiment } from './load-run.ts'

export interface Pair {
  readonly a: LoadedSubExperiment
  readonly b: LoadedSubExperiment
  /** As "FunctionMemoryMB 128 / 2048". */
  readonly differences: readonly string[]
}

export interface Matching {
  readonly pairs: readonly Pair[]
  readonly onlyA: readonly LoadedSubExperiment[]
  readonly onlyB: readonly LoadedSubExperiment[]
}

/** Compared where both are known. A number of bursts only makes more or fewer samples. */
const told = ['Title', 'Function', 'Runtime', 'PackageType', 'FunctionMemoryMB', 'IATSeconds', 'IATType', 'Parallelism', 'keepAliveSeconds', 'warmUp', 'openLoop', 'SnapStartEnabled', 'CPUBoostEnabled'] as const

export function matchRuns(a: LoadedRun, b: LoadedRun): Matching {
  // A directory of the original names the first burst size and whole KB only.
  const isCoarse = a.summary === undefined || b.summary === undefined
  const rest = new Set(b.subExperiments)
  const candidates = a.subExperiments.flatMap((one) => b.subExperiments.filter((other) => workOf(one, isCoarse) === workOf(other, isCoarse)).map((other) => ({ a: one, b: other, differences: differencesOf(one.settings, other.settings) })))
  const order = (pair: Pair): string => `${JSON.stringify(sortedSettings(pair.a.settings))}${JSON.stringify(sortedSettings(pair.b.settings))}`
  candidates.sort((x, y) => x.differences.length - y.differences.length || (order(x) < order(y) ? -1 : 1))
  const taken = new Set<LoadedSubExperiment>()
  const pairs: Pair[] = []
  for (const pair of candidates) {
    if (taken.has(pair.a) || !rest.has(pair.b)) continue
    taken.add(pair.a)
    rest.delete(pair.b)
    pairs.push(pair)
  }
  const place = (pair: Pair): number => a.subExperiments.indexOf(pair.a)
  return { pairs: pairs.sort((x, y) => place(x) - place(y)), onlyA: a.subExperiments.filter((one) => !taken.has(one)), onlyB: [...rest] }
}

function workOf({ settings, factor }: LoadedSubExperiment, isCoarse: boolean): string {
  const { PayloadLengthBytes, DataTransferChainLength, BurstSizes, DesiredServiceTimes, FunctionImageSizeMB } = settings
  return JSON.stringify([
    factor, transferOf(settings), DataTransferChainLength, isCoarse ? Math.floor(PayloadLengthBytes / 1024) : PayloadLengthBytes, isCoarse ? BurstSizes[0] : BurstSizes,
    isCoarse ? DesiredServiceTimes[0]!.ms : DesiredServiceTimes.map(({ ms }) => ms), isCoarse ? Math.trunc(FunctionImageSizeMB) : FunctionImageSizeMB,
    // What is being varied.
    factor === 'runtime' ? [settings.Runtime, settings.PackageType] : undefined,
  ])
}

function differencesOf(a: KnownSettings, b: KnownSettings): string[] {
  return told.flatMap((name) => {
    const [one, other] = [sayValue(a[name]), sayValue(b[name])]
    // Unknown for a directory of the original; unset keep-alive against a set one is a difference.
    const isUnknown = (settings: KnownSettings): boolean => settings[name] === undefined && settings.index === undefined
    return one === other || isUnknown(a) || isUnknown(b) ? [] : [`${name} ${one} / ${other}`]
  })
}

function sayValue(value: unknown): string {
  return value === undefined ? 'unset' : typeof value === 'string' ? value : JSON.stringify(value)
}

function sortedSettings(settings: KnownSettings): [string, unknown][] {
  return Object.entries(settings).filter(([name]) => name !== 'index').sort(([x], [y]) => (x < y ? -1 : 1))
}

/** A name for a pair that says what was measured. */
export function nameOf({ settings, factor }: LoadedSubExperiment): string {
  const burst = burstOf(settings) > 1 ? `, burst ${burstOf(settings)}` : ''
  const image = settings.FunctionImageSizeMB > 0 ? `, ${settings.FunctionImageSizeMB} MB image` : ''
  const payload = settings.PayloadLengthBytes > 0 ? `, ${settings.PayloadLengthBytes} B` : ''
  const service = settings.DesiredServiceTimes[0]!.ms > 0 ? `, ${settings.DesiredServiceTimes[0]!.text}` : ''
  const title = settings.Title === '' || settings.Title === factor ? factor : `${settings.Title} (${factor})`
  return `${title}${image}${payload}${burst}${service}${factor === 'runtime' ? `, ${settings.Runtime ?? ''}` : ''}`
}
