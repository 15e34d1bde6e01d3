/**
 * The thesis's own figures for AWS Lambda, Google Cloud Functions and Azure Functions: Ustiugov, "Data-centric serverless cloud architecture"
 * (Edinburgh, 2022), chapter 3, whose text says them. Latencies are the client's, in Utah, with the way to the US West region in them (26, 14 and 32 ms)
 * unless told otherwise; a platform measured beside its client has no such way. So compare MR, TR and TMR; milliseconds only in their order of magnitude.
 *
 * Its slips, left as they are printed: warm p99 (47, 74, 75 ms) and TMR (1.5, 1.7, 1.3) agree only when the way is in both; the AWS and Google cells of
 * "Bursty long" and that of Azure's TR don't follow from the latencies of 3.5.4.3; in 3.5.2.2 the 510 ms "of Azure" are Google's.
 */

export const clouds = ['AWS', 'Google', 'Azure'] as const
export type Cloud = (typeof clouds)[number]

export type TableFactor = 'warm' | 'cold' | 'image-size' | 'inline' | 'storage' | 'bursty-warm' | 'bursty-cold' | 'bursty-long'

/** Table 3.1: [MR, TR]; absent for n/a. */
export const thesisTable: readonly { readonly factor: TableFactor; readonly name: string; readonly section: string; readonly ratios: Readonly<Partial<Record<Cloud, readonly [mr: number, tr: number]>>> }[] = [
  { factor: 'warm', name: 'Base warm', section: '3.5.1', ratios: { AWS: [1, 2], Google: [1, 2], Azure: [1, 1] } },
  { factor: 'cold', name: 'Base cold', section: '3.5.2.1', ratios: { AWS: [10, 15], Google: [28, 50], Azure: [25, 64] } },
  { factor: 'image-size', name: 'Image size', section: '3.5.2.2', ratios: { AWS: [29, 49], Google: [17, 60], Azure: [59, 100] } },
  { factor: 'inline', name: 'Inline transfer', section: '3.5.3.1', ratios: { AWS: [1, 2], Google: [2, 3] } },
  { factor: 'storage', name: 'Storage transfer', section: '3.5.3.2', ratios: { AWS: [3, 27], Google: [5, 187] } },
  { factor: 'bursty-warm', name: 'Bursty warm', section: '3.5.4.1', ratios: { AWS: [2, 11], Google: [3, 5], Azure: [5, 41] } },
  { factor: 'bursty-cold', name: 'Bursty cold', section: '3.5.4.2', ratios: { AWS: [6, 12], Google: [59, 100], Azure: [41, 58] } },
  { factor: 'bursty-long', name: 'Bursty long', section: '3.5.4.3', ratios: { AWS: [12, 16], Google: [64, 102], Azure: [309, 619] } },
]

/** What of a factor Table 3.1 stands for: images of 100 MB, transfers of 1 MB, bursts of 100. It follows from the text's latencies over its warm medians. */
export const tableAt = { imageMB: 100, payloadBytes: 1_000_000, burst: 100 } as const

export type ThesisFigure = '3.3' | '3.4' | '3.5' | '3.6' | '3.7' | '3.8' | '3.9'

export interface ThesisValue {
  readonly figure: ThesisFigure
  readonly cloud: Cloud
  readonly what: string
  readonly p50?: number
  readonly p99?: number
  readonly tmr?: number
  /** Megabits per second, as the thesis has them. */
  readonly mbitPerS?: number
  readonly section: string
  readonly remark?: string
}

const nearby = (way: number): string => `median without the ${way} ms of the way to the datacentre`

export const thesisValues: readonly ThesisValue[] = [
  { figure: '3.3', cloud: 'AWS', what: 'warm', p50: 18, p99: 74, tmr: 1.7, section: '3.5.1', remark: nearby(26) },
  { figure: '3.3', cloud: 'Google', what: 'warm', p50: 17, p99: 47, tmr: 1.5, section: '3.5.1', remark: nearby(14) },
  { figure: '3.3', cloud: 'Azure', what: 'warm', p50: 25, p99: 75, tmr: 1.3, section: '3.5.1', remark: nearby(32) },
  { figure: '3.3', cloud: 'AWS', what: 'cold', p50: 448, tmr: 1.5, section: '3.5.2.1' },
  { figure: '3.3', cloud: 'Google', what: 'cold', p50: 870, p99: 1567, tmr: 1.8, section: '3.5.2.1, 3.5.4.2' },
  { figure: '3.3', cloud: 'Azure', what: 'cold', p50: 1401, tmr: 2.6, section: '3.5.2.1' },
  { figure: '3.4', cloud: 'AWS', what: '100 MB', p99: 2155, tmr: 1.7, section: '3.5.2.2', remark: 'median 3.5×, p99 4.2× of 10 MB' },
  { figure: '3.4', cloud: 'Google', what: '100 MB', p50: 510, tmr: 3.6, section: '3.5.2.2', remark: 'near to that of 10 MB; the text says Azure' },
  { figure: '3.4', cloud: 'Azure', what: '100 MB', p99: 5723, tmr: 1.7, section: '3.5.2.2', remark: 'median 2.4×, p99 1.6× of 10 MB' },
  { figure: '3.5', cloud: 'AWS', what: 'Python, ZIP', p50: 360, p99: 570, tmr: 1.7, section: '3.5.2.3' },
  { figure: '3.5', cloud: 'AWS', what: 'Go, ZIP', p50: 360, p99: 570, tmr: 1.5, section: '3.5.2.3' },
  { figure: '3.5', cloud: 'AWS', what: 'Python, container', p50: 612, p99: 2882, tmr: 4.7, section: '3.5.2.3' },
  { figure: '3.5', cloud: 'AWS', what: 'Go, container', tmr: 2.4, section: '3.5.2.3' },
  { figure: '3.6', cloud: 'AWS', what: '1 KB', p50: 11, section: '3.5.3.1' },
  { figure: '3.6', cloud: 'Google', what: '1 KB', p50: 7, section: '3.5.3.1' },
  { figure: '3.6', cloud: 'AWS', what: '1 MB', tmr: 1.7, section: '3.5.3.1' },
  { figure: '3.6', cloud: 'Google', what: '1 MB', p50: 62, p99: 88, tmr: 1.4, section: '3.5.3.2, Observation 4' },
  { figure: '3.6', cloud: 'AWS', what: '4 MB', p50: 124, tmr: 1.4, mbitPerS: 264, section: '3.5.3.1' },
  { figure: '3.6', cloud: 'Google', what: '4 MB', p50: 202, tmr: 1.3, mbitPerS: 152, section: '3.5.3.1' },
  { figure: '3.7', cloud: 'AWS', what: '1 MB', p50: 111, p99: 1177, tmr: 10.6, mbitPerS: 72, section: '3.5.3.2' },
  { figure: '3.7', cloud: 'Google', what: '1 MB', p50: 155, p99: 5781, tmr: 37.3, mbitPerS: 48, section: '3.5.3.2' },
  { figure: '3.7', cloud: 'AWS', what: 'above 100 MB', mbitPerS: 960, section: '3.5.3.2' },
  { figure: '3.7', cloud: 'Google', what: 'above 100 MB', mbitPerS: 408, section: '3.5.3.2' },
  { figure: '3.8', cloud: 'AWS', what: 'short IAT, burst 100', tmr: 6.2, section: '3.5.4.1' },
  { figure: '3.8', cloud: 'Google', what: 'short IAT, burst 100', tmr: 1.7, section: '3.5.4.1' },
  { figure: '3.8', cloud: 'Azure', what: 'short IAT, burst 100', tmr: 7.9, section: '3.5.4.1' },
  { figure: '3.8', cloud: 'AWS', what: 'short IAT, burst 500', tmr: 4.4, section: '3.5.4.1' },
  { figure: '3.8', cloud: 'Google', what: 'short IAT, burst 500', tmr: 1.9, section: '3.5.4.1' },
  { figure: '3.8', cloud: 'Azure', what: 'short IAT, burst 500', tmr: 3.9, section: '3.5.4.1', remark: 'median 33.4×, p99 98.5× of burst 1' },
  { figure: '3.8', cloud: 'AWS', what: 'long IAT, burst 100', tmr: 2.2, section: '3.5.4.2', remark: 'median 1.8×, p99 1.3× lower than of burst 1' },
  { figure: '3.8', cloud: 'Google', what: 'long IAT, burst 100', p50: 1818, p99: 3095, tmr: 1.7, section: '3.5.4.2' },
  { figure: '3.8', cloud: 'Azure', what: 'long IAT, burst 100', tmr: 1.4, section: '3.5.4.2' },
  { figure: '3.9', cloud: 'AWS', what: '1 s, burst 100', p50: 1598, p99: 1865, section: '3.5.4.3', remark: 'nearly the same as burst 1' },
  { figure: '3.9', cloud: 'Google', what: '1 s, burst 100', p50: 2978, p99: 4595, section: '3.5.4.3' },
  { figure: '3.9', cloud: 'Azure', what: '1 s, burst 100', p50: 18_637, p99: 38_545, section: '3.5.4.3' },
]

export function thesisOf(figure: ThesisFigure): readonly ThesisValue[] {
  return thesisValues.filter((value) => value.figure === figure)
}
