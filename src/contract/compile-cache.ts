/**
 * How the compiled form of a function's code comes out of the sandbox that made it: one message over descriptor 3.
 *
 *   platform ──▶ one byte: the code is in its place now
 *   sandbox  ──▶ │ u32 length of the JSON, little-endian │ {"<path>": "<base64>", …} │, and then the end of the channel
 *
 * The paths are those of the files that Node wrote below the cache's directory. They come from a process in which foreign
 * code has run, so the receiver trusts nothing:
 *
 * Invariants:
 *   M1. A message is at most {@link COMPILE_CACHE_BYTES_MAX} long, and nothing follows it.
 *   M2. A decoded path is relative, of at most {@link DEPTH_MAX} plain names: it leads nowhere but below its directory.
 */
import { PlatformError } from './errors.ts'

/** Where instances find the compiled form, below the root of the code. An empty one: there is nothing to be had. */
export const COMPILE_CACHE_DIRECTORY = '.compile-cache'
export const COMPILE_CACHE_BYTES_MAX = 32 * 1024 * 1024

const LENGTH_BYTES = 4
const DEPTH_MAX = 4
const FILES_MAX = 10_000
const PLAIN_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

/** One message. What does not fit any more is left out, the largest files first: it is only compiled later, as without a cache. */
export function encodeCompileCache(files: ReadonlyMap<string, Uint8Array>): Buffer {
  const chosen: Record<string, string> = {}
  let bytes = LENGTH_BYTES + 2
  for (const [path, content] of [...files].sort(([, a], [, b]) => a.byteLength - b.byteLength)) {
    bytes += path.length + Math.ceil(content.byteLength / 3) * 4 + 6
    if (bytes > COMPILE_CACHE_BYTES_MAX) break
    chosen[path] = Buffer.from(content.buffer, content.byteOffset, content.byteLength).toString('base64')
  }
  const json = Buffer.from(JSON.stringify(chosen))
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt32LE(json.length)
  return Buffer.concat([length, json])
}

/** @throws PROTOCOL_BROKEN, which says what is wrong with the message. */
export function decodeCompileCache(message: Buffer): Map<string, Buffer> {
  if (message.length > COMPILE_CACHE_BYTES_MAX) throw broken(`it has ${message.length} bytes, at most ${COMPILE_CACHE_BYTES_MAX} are allowed`)
  if (message.length < LENGTH_BYTES || message.readUInt32LE(0) !== message.length - LENGTH_BYTES) throw broken('it does not have the length it says')
  let value: unknown
  try {
    value = JSON.parse(message.toString('utf8', LENGTH_BYTES))
  } catch (cause) {
    throw broken('it is not JSON', cause)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw broken('it is not an object of files')
  const entries = Object.entries(value)
  if (entries.length > FILES_MAX) throw broken(`it has ${entries.length} files, at most ${FILES_MAX} are allowed`)
  const files = new Map<string, Buffer>()
  for (const [path, content] of entries as [string, unknown][]) {
    const names = path.split('/')
    if (names.length > DEPTH_MAX || !names.every((name) => PLAIN_NAME.test(name))) throw broken(`${JSON.stringify(path.slice(0, 80))} is no plain relative path`)
    if (typeof content !== 'string' || !BASE64.test(content)) throw broken(`the content of ${path} is not base64`)
    files.set(path, Buffer.from(content, 'base64'))
  }
  return files
}

function broken(what: string, cause?: unknown): PlatformError {
  return new PlatformError('PROTOCOL_BROKEN', `The message with the compiled code was broken: ${what}.`, { cause })
}
