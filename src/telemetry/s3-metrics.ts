/**
 * The metrics of the S3 endpoint: requests by operation and how they ended, their duration, bytes of bodies.
 *
 * The handles of an operation are resolved with its first request; then each is one addition per series. Operations are few and known, so
 * the series are bounded; a namespace is no label: whoever may choose its name could make series without end.
 */
import type { Counter, Histogram, Metrics } from '#base/metrics.ts'

/** An S3 request that has ended. */
export interface S3Ended {
  /** S3's name, `PutObject`; `unknown` where the request was refused before it was one. */
  readonly operation: string
  /** `2xx` to `5xx`; `cut`: the connection ended before the answer did. */
  readonly status: string
  readonly us: number
  /** As on the wire, with the coding of chunks. */
  readonly bytesIn: number
  readonly bytesOut: number
}

interface Handles {
  readonly byStatus: Map<string, Counter>
  readonly duration: Histogram
  readonly bytesIn: Counter
  readonly bytesOut: Counter
}

/** 64 µs to 18 min by powers of four: an object of gigabytes takes minutes. */
const exposed = Array.from({ length: 13 }, (_, index) => 2 * index + 6)

export class S3Metrics {
  readonly #operations = new Map<string, Handles>()
  readonly #make: (operation: string) => Handles
  readonly #requests: (operation: string, status: string) => Counter

  constructor(metrics: Metrics) {
    const labels = ['operation'] as const
    const requests = metrics.counter({ name: 'skep_s3_requests_total', help: 'S3 requests that ended, by operation and class of their status.', labels: [...labels, 'status'] })
    const duration = metrics.histogram({ name: 'skep_s3_request_duration_seconds', help: 'From the head of an S3 request to the last byte of its answer.', labels, scale: 1e-6, exposed })
    const bytesIn = metrics.counter({ name: 'skep_s3_request_bytes_total', help: 'Bytes of bodies of S3 requests.', labels })
    const bytesOut = metrics.counter({ name: 'skep_s3_answer_bytes_total', help: 'Bytes of bodies of S3 answers.', labels })
    this.#make = (operation) => ({ byStatus: new Map(), duration: duration.with({ operation }), bytesIn: bytesIn.with({ operation }), bytesOut: bytesOut.with({ operation }) })
    this.#requests = (operation, status) => requests.with({ operation, status })
  }

  readonly add = ({ operation, status, us, bytesIn, bytesOut }: S3Ended): void => {
    let handles = this.#operations.get(operation)
    if (handles === undefined) this.#operations.set(operation, (handles = this.#make(operation)))
    let requests = handles.byStatus.get(status)
    if (requests === undefined) handles.byStatus.set(status, (requests = this.#requests(operation, status)))
    requests.add(1)
    handles.duration.observe(us)
    handles.bytesIn.add(bytesIn)
    handles.bytesOut.add(bytesOut)
  }
}
