/**
 * What a run of a workload would cost its developer in a public cloud: the thesis's table 6.2.
 *
 *   compute = seconds of each function x its memory x price per GB-second, and a fee per invocation
 *   storage = requests, and what the objects between functions take up for as long as they are kept (S3: GB-months; Redis: GB-hours)
 *
 * Input and final output of a workload are in a storage whatever the transport is, and left out, as in the thesis.
 *
 * Source: thesis section 6.6.3.2; prices of AWS Lambda, S3 Standard and ElastiCache Serverless in us-east-1.
 */
import type { Usage } from '../../examples/transports/report.ts'
import type { TransportName } from '../../examples/transports/transport.ts'

/** US dollars. */
export interface Prices {
  readonly perGbSecond: number
  readonly perInvocation: number
  readonly perS3Put: number
  readonly perS3Get: number
  readonly perS3GbMonth: number
  /** How long an object between functions stays in S3. A lifecycle rule, which is how such objects are removed without paying for a list of them, has days. */
  readonly s3KeptDays: number
  readonly perRedisGbHour: number
  /** How long it occupies the memory tier, which is billed by the hour. */
  readonly redisKeptHours: number
}

export const awsPrices: Prices = {
  perGbSecond: 0.0000166667,
  perInvocation: 0.2 / 1e6,
  perS3Put: 0.005 / 1000,
  perS3Get: 0.0004 / 1000,
  perS3GbMonth: 0.023,
  s3KeptDays: 1,
  perRedisGbHour: 0.125,
  redisKeptHours: 1,
}

/** Millionths of a US dollar, as in the thesis. */
export interface Costs {
  readonly computeMicroUsd: number
  readonly storageMicroUsd: number
  readonly totalMicroUsd: number
}

const GB = 1024 ** 3
const DAYS_PER_MONTH = 30

/** @param memoryMb Of each function that ran. */
export function costsOf(usage: Usage, transport: TransportName, memoryMb: Readonly<Record<string, number>>, prices: Prices = awsPrices): Costs {
  let compute = 0
  for (const [name, { invocations, ms }] of Object.entries(usage.functions)) {
    const memory = memoryMb[name]
    if (memory === undefined) throw new RangeError(`Nothing is known of the memory of ${name}.`)
    compute += (ms / 1000) * (memory / 1024) * prices.perGbSecond + invocations * prices.perInvocation
  }
  const storage = storageUsd(usage, transport, prices)
  return { computeMicroUsd: compute * 1e6, storageMicroUsd: storage * 1e6, totalMicroUsd: (compute + storage) * 1e6 }
}

function storageUsd({ storage: { puts, gets, bytes } }: Usage, transport: TransportName, prices: Prices): number {
  switch (transport) {
    case 'inline':
    case 'xdt':
      return 0
    case 's3':
      return puts * prices.perS3Put + gets * prices.perS3Get + (bytes / GB) * (prices.s3KeptDays / DAYS_PER_MONTH) * prices.perS3GbMonth
    case 'redis':
      return (bytes / GB) * prices.redisKeptHours * prices.perRedisGbHour
  }
}
