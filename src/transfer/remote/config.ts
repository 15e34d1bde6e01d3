/** What can be tuned about transfers between workers. */

export interface RemoteConfig {
  /** Bytes of one data frame: what the streams of a connection take turns with. */
  readonly chunkBytes: number
  /** Credit of a stream: the most that is under way or waits at the consumer's worker for a consumer that is slow (thesis 6.6.1.2: the depth of its buffers). */
  readonly windowBytes: number
  /** Credit that a stream gets when buffers are short. */
  readonly windowBytesMin: number
  /** Credit of all streams to this worker together, so that this bounds its memory. */
  readonly buffersBytesMax: number
  /** The same for the streams of one namespace. */
  readonly namespaceBuffersBytesMax: number
  /** How long a pull waits for buffers, ms. */
  readonly buffersWaitMs: number
  /** Connections to one peer. A second one is opened when the first is busy. */
  readonly connectionsPerPeer: number
  /** Connections from all peers. */
  readonly connectionsMax: number
  /** Requests that one connection may have going on, each with a lease of its own. */
  readonly requestsPerConnectionMax: number
  /** How long connecting, with the proof of who one is, may take, ms. */
  readonly connectMs: number
  /** A connection on which a write makes no progress for so long is broken, ms. */
  readonly stallMs: number
  /** A connection that nobody uses is closed after this, ms. */
  readonly idleMs: number
  /** A connection takes no more requests after this, ms: new ones have new keys. */
  readonly connectionLifeMs: number
  /** The same by bytes received. */
  readonly connectionBytesMax: number
}

const KB = 1024
const MB = 1024 * KB

/**
 * Measured (docs/decisions/0017): chunks of 128 KB cost the sender 5 % more than those of 256 KB, and of 64 KB 15 %. A window of 1 MB, which the thesis chose,
 * is a quarter slower than one of 4 MB at 2 GB/s and as good below; as credit shrinks when many want it, the larger one costs memory only while there is plenty.
 * 2^37 bytes are 2^23 records of 16 KB, well below the 2^24.5 after which AES-GCM under one key is no longer recommended (RFC 8446, 5.5).
 */
export const remoteDefaults: RemoteConfig = {
  chunkBytes: 256 * KB,
  windowBytes: 4 * MB,
  windowBytesMin: 64 * KB,
  buffersBytesMax: 256 * MB,
  namespaceBuffersBytesMax: 64 * MB,
  buffersWaitMs: 10_000,
  connectionsPerPeer: 2,
  connectionsMax: 1024,
  requestsPerConnectionMax: 4096,
  connectMs: 5000,
  stallMs: 30_000,
  idleMs: 60_000,
  connectionLifeMs: 3_600_000,
  connectionBytesMax: 2 ** 37,
}
