/**
 * The stored form of a journal batch: many rows in one, because a row each would cost a hundred times as much.
 *
 *   ┌──────────────────┬────────────────────┬──────────────────────────────────────────────┐
 *   │ times: count ×   │ lengths: count ×   │ rows: UTF-8, joined by line feeds            │
 *   │ f64, epoch ms    │ u32, UTF-16 units  │ (readable by eye once decompressed)          │
 *   └──────────────────┴────────────────────┴──────────────────────────────────────────────┘
 *   codec 0: as it stands · codec 1: one zstd frame around all of it. Numbers are little-endian.
 *
 * The lengths, and not the line feeds, say where a row ends: a row may contain line feeds and comes back unchanged.
 * Rows stand in the order in which they were appended; {@link unpackRows} puts them in the order of time.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { JournalBatchParts } from './sqlite-protocol.ts'
import type { JournalRow } from './store.ts'

export type BatchCodec = 0 | 1

/** Below this a zstd frame saves nothing worth the call. */
const COMPRESS_FROM_BYTES = 512

/** Level 1: a third of the time of the default for 5 % more bytes. */
const zstdOptions = { params: { [constants.ZSTD_c_compressionLevel]: 1 } }

/** What crosses to the writer thread: three flat values, which cost a copy and not a walk. */
export function gatherRows(rows: readonly JournalRow[]): JournalBatchParts {
  const count = rows.length
  const times = new Float64Array(count)
  const lengths = new Uint32Array(count)
  const texts = new Array<string>(count)
  for (let index = 0; index < count; index++) {
    const { atMs, row } = rows[index]!
    times[index] = atMs
    lengths[index] = row.length
    texts[index] = row
  }
  return { times, lengths, text: texts.join('\n') }
}

export function packBatch(parts: JournalBatchParts): { readonly codec: BatchCodec; readonly payload: Uint8Array } {
  const payload = Buffer.concat([bytesOf(parts.times), bytesOf(parts.lengths), Buffer.from(parts.text)])
  if (payload.length < COMPRESS_FROM_BYTES) return { codec: 0, payload }
  return { codec: 1, payload: zstdCompressSync(payload, zstdOptions) }
}

/** The rows in the order of time; those of the same time in the order they were appended. */
export function unpackRows(count: number, codec: BatchCodec, payload: Uint8Array): JournalRow[] {
  const bytes = codec === 1 ? zstdDecompressSync(payload) : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = bytes.toString('utf8', count * 12)
  const rows = new Array<JournalRow>(count)
  let offset = 0
  for (let index = 0; index < count; index++) {
    const length = view.getUint32(count * 8 + index * 4, true)
    rows[index] = { atMs: view.getFloat64(index * 8, true), row: text.slice(offset, offset + length) }
    offset += length + 1
  }
  return sortByTime(rows)
}

/** Sorts in place, stable; nearly always there is nothing to do. */
export function sortByTime(rows: JournalRow[]): JournalRow[] {
  for (let index = 1; index < rows.length; index++) {
    if (rows[index]!.atMs < rows[index - 1]!.atMs) return rows.sort((a, b) => a.atMs - b.atMs)
  }
  return rows
}

function bytesOf(numbers: Float64Array | Uint32Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength)
}
