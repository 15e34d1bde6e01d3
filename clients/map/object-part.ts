/**
 * Stored objects as input: which bytes go to which invocation. Pure.
 *
 * A part is a range of an object's bytes. Objects larger than `chunkBytes` are split; smaller ones go together into one invocation. A split is at
 * line ends, by the rule of MapReduce's text input: a part begins behind the first line end at or after its byte `from` - 1, and ends with the line
 * that byte `to` - 1 is in (whole-lines.ts). So each line is in exactly one part, and nobody has to look for line ends before.
 *
 * Invariants:
 *   O1. The parts of an object are its bytes, each once, in order.
 *   O2. An invocation gets parts of at most `chunkBytes` together, or one part.
 */
import { PlatformError } from '../../src/contract/errors.ts'

/** Objects of a bucket, or objects that functions have put. */
export type Objects = {
  /** About how many bytes an invocation gets. Default: every object whole, in an invocation of its own. */
  readonly chunkBytes?: number
  /** What the function gets: a Buffer, or a ReadableStream for what is larger than its memory. Default: bytes. */
  readonly as?: 'bytes' | 'stream'
} & ({ readonly bucket: string; readonly prefix?: string } | { readonly references: readonly string[] })

export class ObjectPart {
  readonly bucket: string
  readonly key: string
  /** First byte. */
  readonly from: number
  /** Behind the last byte. */
  readonly to: number
  /** Of the whole object. */
  readonly size: number

  constructor(part: { readonly bucket: string; readonly key: string; readonly from: number; readonly to: number; readonly size: number }) {
    this.bucket = part.bucket
    this.key = part.key
    this.from = part.from
    this.to = part.to
    this.size = part.size
  }

  get whole(): boolean {
    return this.from === 0 && this.to === this.size
  }
}

export interface ListedObject {
  readonly key: string
  readonly size: number
}

/** One list of parts per invocation. @throws INPUT_INVALID. */
export function partsOf(bucket: string, objects: readonly ListedObject[], chunkBytes?: number): ObjectPart[][] {
  if (chunkBytes !== undefined && !(chunkBytes >= 1)) throw new PlatformError('INPUT_INVALID', `chunkBytes is ${chunkBytes}; it is a number of bytes, 1 or more.`)
  const groups: ObjectPart[][] = []
  let room = 0
  for (const { key, size } of objects) {
    const step = chunkBytes ?? Math.max(size, 1)
    for (let from = 0; from === 0 || from < size; from += step) {
      const to = Math.min(size, from + step)
      const part = new ObjectPart({ bucket, key, from, to, size })
      if (groups.length > 0 && part.whole && to <= room && chunkBytes !== undefined) {
        groups.at(-1)!.push(part)
        room -= to
      } else {
        groups.push([part])
        room = chunkBytes !== undefined && part.whole ? chunkBytes - to : 0
      }
    }
  }
  return groups
}
