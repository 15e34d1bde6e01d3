/**
 * Which factor of the thesis's study a sub-experiment varies (3.4, Table 3.1), from its settings and its title.
 *
 * Settings say most: a chain transfers data, a burst is more than one request, a function that runs for long shows the scheduling policy. What they don't
 * say is whether a platform's instances are gone when the next request comes, and that a runtime or an image is what is being varied. For this the
 * title begins with a word of the table below, as our examples' do; the original's files have "warm" and "cold", whatever their burst size.
 *
 *   K1. A title never makes a chain of a single function, a burst of a request, or the other way round.
 *   K2. Without a word in the title, long is an inter-arrival time above `keepAliveSeconds`, or, where that is not set, from LONG_IAT_SECONDS on.
 */
import type { SubExperiment } from '../experiment.ts'
import type { Limitation, TransferKind } from '../provider.ts'

export const factors = ['warm', 'cold', 'image-size', 'runtime', 'inline', 'storage', 'reference', 'bursty-warm', 'bursty-cold', 'bursty-long', 'other'] as const
export type Factor = (typeof factors)[number]

/** Settings as they are known: all of them from a summary, those in the directory's name from a result of the original. */
export type KnownSettings = Pick<
  SubExperiment, 'Title' | 'FunctionMemoryMB' | 'FunctionImageSizeMB' | 'IATSeconds' | 'BurstSizes' | 'DesiredServiceTimes' | 'PayloadLengthBytes' | 'DataTransferChainLength'
> & { readonly [K in keyof SubExperiment]?: SubExperiment[K] | undefined }

/** Warm gaps in the original's files are at most 25 s, cold ones at least 70 s (research platform) and mostly 600 s. */
export const LONG_IAT_SECONDS = 60
/** The thesis's function runs for 1 s (3.5.4.3). */
const LONG_RUN_MS = 500

export function classify(settings: KnownSettings): Factor {
  const word = factors.filter((factor) => new RegExp(`^${factor}(?![a-z])`, 'i').test(settings.Title)).sort((a, b) => b.length - a.length)[0]
  if (settings.DataTransferChainLength > 1) {
    const kind = transferOf(settings)
    return kind === 'none' ? 'other' : kind
  }
  const isBurst = settings.BurstSizes.some((size) => size > 1)
  const isLongRun = settings.DesiredServiceTimes.some(({ ms }) => ms >= LONG_RUN_MS)
  switch (word) {
    case 'image-size': case 'runtime': case 'bursty-long': return word
    case 'bursty-warm': case 'bursty-cold': return isBurst ? word : 'other'
    case 'other': return 'other'
    case 'warm': case 'cold': case 'inline': case 'storage': case 'reference': case undefined: break
  }
  const isLong = word === 'cold' || (word !== 'warm' && hasLongIat(settings))
  if (isLongRun) return isLong ? 'bursty-long' : 'other'
  if (isBurst) return isLong ? 'bursty-cold' : 'bursty-warm'
  if (word === undefined && settings.openLoop !== undefined) return 'other'
  if (!isLong) return 'warm'
  return word === undefined && settings.FunctionImageSizeMB >= 10 ? 'image-size' : 'cold'
}

/** How a chain passes its payload on. The original's directories don't say it; its files' titles do ("2chain,S3"). */
export function transferOf(settings: KnownSettings): TransferKind {
  if (settings.DataTransferChainLength < 2) return 'none'
  if (settings.referenceTransfer === true) return 'reference'
  if (settings.StorageTransfer !== undefined) return settings.StorageTransfer ? 'storage' : 'inline'
  if (/\breference\b/i.test(settings.Title)) return 'reference'
  return /storage|s3|minio/i.test(settings.Title) ? 'storage' : 'inline'
}

function hasLongIat({ IATSeconds, keepAliveSeconds }: KnownSettings): boolean {
  return keepAliveSeconds === undefined ? IATSeconds >= LONG_IAT_SECONDS : keepAliveSeconds === 0 || IATSeconds > keepAliveSeconds
}

/** The largest burst, which is what a burst experiment is named after. */
export function burstOf(settings: KnownSettings): number {
  return settings.BurstSizes.reduce((most, size) => Math.max(most, size), 0)
}

/** A factor that the platform could not vary was not measured, whatever its numbers. */
const voidedBy: Readonly<Record<Factor, readonly (keyof SubExperiment)[]>> = {
  warm: [], runtime: ['Runtime', 'keepAliveSeconds', 'IATSeconds'], cold: ['keepAliveSeconds', 'IATSeconds'], 'image-size': ['FunctionImageSizeMB', 'keepAliveSeconds', 'IATSeconds'],
  inline: ['DataTransferChainLength', 'PayloadLengthBytes'], storage: ['StorageTransfer', 'DataTransferChainLength', 'PayloadLengthBytes'],
  reference: ['referenceTransfer', 'DataTransferChainLength', 'PayloadLengthBytes'],
  'bursty-warm': ['BurstSizes'], 'bursty-cold': ['BurstSizes', 'keepAliveSeconds', 'IATSeconds'], 'bursty-long': ['BurstSizes', 'DesiredServiceTimes', 'keepAliveSeconds', 'IATSeconds'],
  other: [],
}

/** Limitations that make of it something else than what it stands for. */
export function voiding({ factor, result }: { readonly factor: Factor; readonly result: { readonly limitations: readonly Limitation[] } | undefined }): readonly Limitation[] {
  return result?.limitations.filter(({ field }) => voidedBy[factor].includes(field)) ?? []
}
