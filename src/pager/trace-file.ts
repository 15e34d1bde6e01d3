/**
 * The trace of a recorded invocation as a file: which pages it touched, in the order of the faults and by page.
 *
 * In the paper the trace file has the offsets of the pages inside the guest memory file, as the monitor noted them at each
 * fault (thesis 5.2.1, 5.2.2.1); vHive's code had it as text, one hexadecimal offset per line, later as JSON with a version and the
 * page size. This one says the same in 4 bytes per page, with whose pages they are and a checksum. It is read by no restore,
 * which reads the working set file made from it: it is for making that file again in another shape, and for comparing
 * recordings (Figures 4.3 to 4.5).
 *
 * The whole file is one header (header-codec.ts): 100 MB of touched pages are 100 KB of trace.
 */
import { PlatformError } from '#contract/errors.ts'
import { FileKind, HeaderReader, HeaderWriter, requireIdentity } from './header-codec.ts'
import type { FileIdentity } from './header-codec.ts'
import { PageSet, runsOfPages } from './page-runs.ts'
import { readRawHeader, writeExactly, writeWhole } from './snapshot-io.ts'
import type { RawHeader } from './snapshot-io.ts'
import { PAGE_BYTES, pagesIn } from './snapshot.ts'
import type { PageRuns } from './snapshot.ts'

export interface Trace extends FileIdentity {
  /** Of the memory. */
  readonly imageBytes: number
  /** Epoch ms. */
  readonly recordedAtMs: number
  /** Whether `faults` is in the order of the faults. Userfaultfd knows it; the page map, looked at afterwards, does not. */
  readonly ordered: boolean
  /** Every touched page once. */
  readonly faults: Uint32Array
  /** The same pages in runs, ascending. */
  readonly runs: PageRuns
}

/** What a recording found. */
export interface Recording {
  readonly ordered: boolean
  readonly faults: Uint32Array
  readonly recordedAtMs: number
}

/**
 * A trace from what a host process says that it recorded, which is not believed: pages outside of the memory are refused, a page that
 * comes twice counts where it came first.
 * @throws PROTOCOL_BROKEN.
 */
export function traceOf(image: FileIdentity & { readonly imageBytes: number }, recording: Recording): Trace {
  const pages = image.imageBytes / PAGE_BYTES
  const seen = new PageSet(pages)
  const faults = recording.faults.filter((page) => {
    if (page >= pages) throw new PlatformError('PROTOCOL_BROKEN', `A recording names page ${page} of a memory that has ${pages}.`)
    return seen.add(page)
  })
  const { revision, moduleDigest, imageId, imageBytes } = image
  const { ordered, recordedAtMs } = recording
  return { revision, moduleDigest, imageId, imageBytes, recordedAtMs, ordered, faults, runs: runsOfPages(faults.slice().sort()) }
}

/**
 * The pages of a trace and others, of which nobody knows when they were wanted: those that lie beside the trace's come with them, and the
 * rest is so little (learning.ts) that it comes first.
 */
export function joinedFaults(known: Uint32Array, others: Uint32Array): Uint32Array {
  const pages = new Set(known)
  const alone = others.filter((page) => ![page - 1, page, page + 1].some((near) => pages.has(near)))
  return Uint32Array.from(new Set([...alone, ...known, ...others]))
}

/** @throws STORE_FULL, STORE_FAILED. */
export async function writeTrace(path: string, trace: Trace): Promise<void> {
  const writer = new HeaderWriter(FileKind.trace, trace)
    .u64(trace.imageBytes)
    .u64(trace.recordedAtMs)
    .u32(trace.ordered ? 1 : 0)
    .u32(trace.faults.length)
    .u32s(trace.faults)
    .u32(trace.runs.length / 2)
    .u32s(trace.runs)
  await writeWhole(path, async (file) => {
    await writeExactly(file, writer.seal(writer.length), 0)
  })
}

/** @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED. */
export async function readTrace(path: string, wanted: Partial<FileIdentity> = {}): Promise<Trace> {
  return parseTrace(await readRawHeader(path), path, wanted)
}

export function parseTrace(raw: RawHeader, path: string, wanted: Partial<FileIdentity> = {}): Trace {
  const reader = new HeaderReader(raw.header, FileKind.trace, raw.fileBytes, path)
  const { revision, moduleDigest, imageId } = reader.preamble
  requireIdentity(path, reader.preamble, wanted)
  if (raw.header.byteLength !== raw.fileBytes) throw reader.damaged(`it has ${raw.fileBytes - raw.header.byteLength} bytes behind its end`)
  const imageBytes = reader.u64()
  const pages = imageBytes / PAGE_BYTES
  if (!Number.isInteger(pages) || pages === 0 || pages > 0xffff_ffff) throw reader.damaged(`a memory of ${imageBytes} bytes is not possible`)
  const recordedAtMs = reader.u64()
  const order = reader.u32()
  if (order > 1) throw reader.damaged(`its order is ${order}, 0 or 1 are possible`)
  const faults = reader.u32s(reader.u32())
  const runs = reader.runs(pages, true)
  reader.end()
  // Sorted and compared, not marked in a set of pages: a set would be as large as a number from the file says (H1).
  const derived = runsOfPages(faults.slice().sort())
  if (pagesIn(runs) !== faults.length || runs.length !== derived.length || runs.some((value, index) => value !== derived[index])) {
    throw reader.damaged('its faults and its runs are not of the same pages')
  }
  return { revision, moduleDigest, imageId, imageBytes, recordedAtMs, ordered: order === 1, faults, runs }
}
