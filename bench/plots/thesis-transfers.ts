/**
 * What the thesis says of expedited data transfers, for the figures that we reproduce: Ustiugov, "Data-centric serverless cloud architecture" (Edinburgh, 2022), chapter 6.
 *
 * All values are read from its text; none is measured off a figure, whose other points are therefore absent. What is only said as a factor stands here as a
 * factor, and products of two such values are marked as derived.
 *
 * The machine there: one m5.metal of AWS (96 logical cores, 25 Gb/s), Knative and vHive in Go and gRPC, storage is AWS S3 in the same region. Times are from end to end, invocations included.
 */

/** Figure 6.3, at 100 MB; from the bandwidths in 6.6.1.1. */
export const thesisAt100Mb = {
  storeAndForwardMs: 100_000 / 306,
  cutThroughMs: 100_000 / 855,
  /** Derived: 15.7 times the cut-through. */
  s3Ms: (15.7 * 100_000) / 855,
} as const

/** Figure 6.4, section 6.6.1.2: ms by the depth of a buffer, KB. */
export const thesisDepths = {
  mb1: [{ kb: 64, ms: 15 }, { kb: 4096, ms: 16 }],
  mb100: [{ kb: 64, ms: 270 }, { kb: 1024, ms: 250 }, { kb: 4096, ms: 243 }],
} as const

/** Figure 6.5, section 6.6.2.1: how much lower the latency is than with S3. */
export const thesisLatency = { mb1: { p50: 8.9, p99: 6.5 }, allSizes: { p50: [6, 14.2], p99: [6.5, 13] } } as const

export interface Range {
  readonly degree: number
  readonly low: number
  readonly high: number
}

/** Figures 6.6 to 6.8, sections 6.6.2.2 to 6.6.2.4: how much lower the latency is than with S3; the text has a range over several degrees. */
export const thesisPatterns: Readonly<Record<'gather' | 'scatter' | 'broadcast', { readonly kb10: readonly Range[]; readonly mb10: readonly Range[]; readonly says: string }>> = {
  gather: { kb10: range([1, 32], 5.6, 9.3), mb10: range([1, 32], 8.2, 12.3), says: 'at most 2,175 MB/s, S3 230' },
  scatter: { kb10: range([1, 32], 1.8, 3.7), mb10: [...range([1, 4], 10.9, 11.6), ...range([8, 16], 2.4, 4.9), ...range([32], 1, 1)], says: 'no gain with 32 of 10 MB' },
  broadcast: { kb10: range([1, 32], 2.6, 6.3), mb10: range([1, 32], 2.6, 6.3), says: 'at most 3,331 MB/s, S3 590' },
}

/** Figure 6.9 and table 6.2, sections 6.6.3.1 and 6.6.3.2. Costs in millionths of a dollar per run. */
export const thesisWorkloads = {
  video: { name: 'Video analytics', speedUp: 1.14, s3Share: 0.3, xdtShare: 0.19, s3Cost: 76, xdtCost: 43 },
  stacking: { name: 'Stacking ensemble', speedUp: 2.71, s3Share: 0.63, xdtShare: 0.23, s3Cost: 200, xdtCost: 98 },
  mapreduce: { name: 'MapReduce', speedUp: 1.42, s3Share: 0.63, xdtShare: undefined, s3Cost: 1185, xdtCost: 241 },
} as const

function range(degrees: readonly number[], low: number, high: number): Range[] {
  return degrees.map((degree) => ({ degree, low, high }))
}
