/**
 * SELECT SUBSTR(sourceIP, 1, X), SUM(adRevenue) FROM uservisits GROUP BY SUBSTR(sourceIP, 1, X): query 2 of the AMPLab Big Data Benchmark, in two halves.
 *
 * Invariants:
 *   Q1. A group is in the same partition whichever mapper it comes from.
 *   Q2. Sums are of whole millionths, so that they do not depend on the order in which files are read.
 */
/** Sums per group, in millionths. */
export type Groups = Map<string, number>

const MILLIONTHS = 1_000_000

/** Sums up rows, and tells the groups apart by who reduces them. @throws RangeError when a row has no revenue. */
export function mapRows(text: string, prefixLength: number, reducers: number): { readonly rows: number; readonly partitions: readonly Groups[] } {
  const groups: Groups = new Map()
  let rows = 0
  for (let from = 0, end = 0; from < text.length; from = end + 1) {
    end = lineEnd(text, from)
    // Only as far as the fields that are needed.
    const ipEnd = text.indexOf(',', from)
    const revenueAt = text.indexOf(',', text.indexOf(',', ipEnd + 1) + 1) + 1
    const revenueEnd = text.indexOf(',', revenueAt)
    const revenue = ipEnd < 0 || revenueAt <= ipEnd || revenueEnd < revenueAt || revenueEnd > end ? NaN : Number(text.slice(revenueAt, revenueEnd) || NaN)
    if (!Number.isFinite(revenue)) throw new RangeError(`This row of UserVisits has no adRevenue: ${text.slice(from, Math.min(end, from + 200))}`)
    const prefix = text.slice(from, Math.min(ipEnd, from + prefixLength))
    groups.set(prefix, (groups.get(prefix) ?? 0) + Math.round(revenue * MILLIONTHS))
    rows++
  }
  const partitions = Array.from({ length: reducers }, (): Groups => new Map())
  for (const [prefix, sum] of groups) partitions[partitionOf(prefix, reducers)]!.set(prefix, sum)
  return { rows, partitions }
}

export function reduceGroups(parts: readonly Groups[]): Groups {
  const groups: Groups = new Map()
  for (const part of parts) for (const [prefix, sum] of part) groups.set(prefix, (groups.get(prefix) ?? 0) + sum)
  return groups
}

/** `prefix,sum` and a line end for each group. */
export function writeGroups(groups: Groups): string {
  let text = ''
  for (const [prefix, sum] of groups) text += `${prefix},${sum}\n`
  return text
}

export function readGroups(text: string): Groups {
  const groups: Groups = new Map()
  for (let from = 0, end = 0; from < text.length; from = end + 1) {
    end = lineEnd(text, from)
    const comma = text.indexOf(',', from)
    const sum = comma < 0 || comma + 1 >= end ? NaN : Number(text.slice(comma + 1, end))
    if (!Number.isSafeInteger(sum)) throw new RangeError(`This is no group and its sum: ${text.slice(from, Math.min(end, from + 200))}`)
    groups.set(text.slice(from, comma), sum)
  }
  return groups
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from)
  return end < 0 ? text.length : end
}

/** FNV-1a (Fowler, Noll, Vo). */
function partitionOf(prefix: string, partitions: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < prefix.length; at++) hash = Math.imul(hash ^ prefix.charCodeAt(at), 0x01000193)
  return (hash >>> 0) % partitions
}
