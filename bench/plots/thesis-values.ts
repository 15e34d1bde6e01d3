/**
 * The values of the figures that we reproduce, so that a plot has them beside ours: Ustiugov, "Data-centric serverless cloud
 * architecture" (Edinburgh, 2022), chapters 4 and 5; the same experiments are in the REAP paper (ASPLOS 2021), from whose figures the
 * numbers above the bars are taken.
 *
 * The machine there: two Xeon E5-2680v3 (48 logical cores), a SATA3 SSD of 850 MB/s at its peak and 32 MB/s with one request of
 * 4 KB at a time, Linux 4.15, Firecracker micro-VMs of 256 MB with one virtual processor, functions in Python. Values in ms include a
 * micro-VM's restore and its connection; nothing of ours does. So compare the shape, never the milliseconds.
 */
import type { RestoreMode } from '#contract/start-figures.ts'

/** Table 5.1, with the name of our function that stands for it (bench/functions). */
export interface ThesisFunction {
  readonly name: string
  readonly ours: string
  /** Figure 4.2. */
  readonly warmMs: number
  /** Figures 4.2 and 5.3: vanilla snapshots, page cache dropped. */
  readonly lazyMs: number
  /** Figure 5.3. */
  readonly reapMs: number
  /** Figure 4.4: footprint after booting and one invocation. */
  readonly bootedMb: number
  /** Figure 4.4: after a restore and one invocation. */
  readonly workingSetMb: number
  /** Figure 4.5: pages that two invocations with different inputs both touch, and those that only one of them does. */
  readonly samePages: number
  readonly uniquePages: number
  /** Figure 4.3: mean length of contiguous regions, pages. */
  readonly meanRunPages: number
}

const columns = ['name', 'ours', 'warmMs', 'lazyMs', 'reapMs', 'bootedMb', 'workingSetMb', 'samePages', 'uniquePages', 'meanRunPages'] as const
const rows = [
  ['helloworld', 'hello', 1, 232, 60, 148, 8, 1965, 2, 1.9],
  ['chameleon', 'html-table', 29, 437, 97, 152, 13, 3276, 6, 2.3],
  ['pyaes', 'aes', 3, 309, 55, 149, 8, 2081, 7, 1.9],
  ['image_rotate', 'image-rotate', 37, 594, 207, 174, 24, 6132, 1311, 3.4],
  ['json_serdes', 'json-serdes', 27, 535, 127, 164, 22, 4357, 1102, 3.2],
  ['lr_serving', 'lr-serving', 2, 647, 66, 256, 10, 2673, 15, 1.6],
  ['cnn_serving', 'cnn-serving', 192, 1424, 237, 256, 28, 7117, 59, 2.4],
  ['rnn_serving', 'rnn-serving', 25, 503, 82, 187, 11, 2698, 5, 1.9],
  ['lr_training', 'lr-training', 4991, 8057, 6090, 256, 99, 23_841, 725, 4.9],
  ['video_processing', 'video-gray', 1476, 2642, 2540, 246, 32, 8038, 2527, 2.8],
] as const
export const thesisFunctions: readonly ThesisFunction[] = rows.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index]])) as unknown as ThesisFunction)

export function thesisFunction(ours: string): ThesisFunction | undefined {
  return thesisFunctions.find((one) => one.ours === ours)
}

/** Figure 5.2, helloworld; the bandwidth from section 5.3.2. */
export const thesisDesigns: readonly { readonly design: RestoreMode; readonly name: string; readonly ms: number; readonly bandwidthMbPerS: number }[] = [
  { design: 'lazy', name: 'vanilla', ms: 232, bandwidthMbPerS: 43 },
  { design: 'parallel-faults', name: 'parallel PFs', ms: 118, bandwidthMbPerS: 130 },
  { design: 'working-set', name: 'WS file', ms: 71, bandwidthMbPerS: 275 },
  { design: 'reap', name: 'REAP', ms: 60, bandwidthMbPerS: 533 },
]

/** Figure 5.4, helloworld: mean per instance. (At one instance the text of 5.3.5 says 70 ms, the figure 60.) */
export const thesisConcurrency: readonly { readonly design: RestoreMode; readonly points: readonly { readonly instances: number; readonly ms: number }[] }[] = [
  { design: 'lazy', points: sweep([232, 405, 442, 745, 1256, 2787, 6435]) },
  { design: 'reap', points: sweep([60, 96, 149, 185, 522, 730, 1063]) },
]

/** What the text says in one number. */
export const thesisClaims = {
  /** 5.3.3. The geometric mean of the ten: their arithmetic one is 4.5. */
  meanSpeedUp: 3.7,
  /** Abstract of the REAP paper: faults removed. */
  faultsRemovedShare: 0.97,
  /** 5.3.4: a recorded invocation takes 15 to 87 % longer, on average 28 %. */
  recordOverhead: 0.28,
  /** 5.3.2, of the SSD. */
  diskPeakMbPerS: 850,
} as const

function sweep(times: readonly number[]): { readonly instances: number; readonly ms: number }[] {
  return times.map((ms, power) => ({ instances: 2 ** power, ms }))
}
