/**
 * FormData, and multipart/form-data in both directions.
 *
 * Source: XHR standard, section 4; RFC 7578. The parser looks for the boundary in the bytes taken as Latin-1 text, which the engine searches
 * faster than an interpreter loop does.
 */
import { Blob, blobBytes, File } from './blob.ts'
import { concat } from './bytes.ts'
import { decodeUtf8, encodeUtf8 } from './host.ts'

type Value = string | File

export class FormData {
  #list: [string, Value][] = []

  append(name: unknown, value: unknown, fileName?: unknown): void {
    this.#list.push([String(name).toWellFormed(), entry(value, fileName)])
  }

  set(name: unknown, value: unknown, fileName?: unknown): void {
    const key = String(name).toWellFormed()
    const at = this.#list.findIndex(([one]) => one === key)
    const made = entry(value, fileName)
    if (at === -1) this.#list.push([key, made])
    else {
      this.#list[at] = [key, made]
      this.#list = this.#list.filter(([one], index) => one !== key || index === at)
    }
  }

  delete(name: unknown): void {
    this.#list = this.#list.filter(([one]) => one !== String(name))
  }

  get(name: unknown): Value | null {
    return this.#list.find(([one]) => one === String(name))?.[1] ?? null
  }

  getAll(name: unknown): Value[] {
    return this.#list.filter(([one]) => one === String(name)).map(([, value]) => value)
  }

  has(name: unknown): boolean {
    return this.#list.some(([one]) => one === String(name))
  }

  forEach(callback: (value: Value, name: string, form: FormData) => void, self?: unknown): void {
    for (const [name, value] of this.#list) callback.call(self, value, name, this)
  }

  *entries(): Generator<[string, Value], undefined> {
    for (let at = 0; at < this.#list.length; at++) yield [...this.#list[at]!] as [string, Value]
    return undefined
  }

  *keys(): Generator<string, undefined> {
    for (const [name] of this) yield name
    return undefined
  }

  *values(): Generator<Value, undefined> {
    for (const [, value] of this) yield value
    return undefined
  }

  [Symbol.iterator](): Generator<[string, Value], undefined> {
    return this.entries()
  }

  get [Symbol.toStringTag](): string {
    return 'FormData'
  }
}

export function encodeMultipart(form: FormData): { readonly bytes: Uint8Array<ArrayBuffer>; readonly type: string } {
  const boundary = `----formdata-skep-${String(Math.random()).slice(2, 14).padStart(12, '0')}`
  const parts: Uint8Array<ArrayBuffer>[] = []
  const quote = (text: string): string => text.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22')
  for (const [name, value] of form) {
    const begin = `--${boundary}\r\nContent-Disposition: form-data; name="${quote(name.replace(/\r?\n|\r/g, '\r\n'))}"`
    if (typeof value === 'string') parts.push(encodeUtf8(`${begin}\r\n\r\n${value.replace(/\r?\n|\r/g, '\r\n')}\r\n`))
    else parts.push(encodeUtf8(`${begin}; filename="${quote(value.name)}"\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`), blobBytes(value), encodeUtf8('\r\n'))
  }
  parts.push(encodeUtf8(`--${boundary}--\r\n`))
  return { bytes: concat([new Uint8Array(0), ...parts]), type: `multipart/form-data; boundary=${boundary}` }
}

/** @throws TypeError when it is not what its type says. */
export function parseMultipart(bytes: Uint8Array<ArrayBuffer>, type: string): FormData {
  const match = /;\s*boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(type)
  const boundary = match?.[1] ?? match?.[2]
  if (boundary === undefined) throw new TypeError('Failed to parse body as FormData: its type has no boundary.')
  const text = latin1(bytes)
  const delimiter = `--${boundary}`
  const form = new FormData()
  let at = text.indexOf(delimiter)
  if (at === -1) throw broken()
  for (;;) {
    at += delimiter.length
    if (text.startsWith('--', at)) return form
    if (!text.startsWith('\r\n', at)) throw broken()
    const headEnd = text.indexOf('\r\n\r\n', at)
    const end = text.indexOf(`\r\n${delimiter}`, headEnd === -1 ? at : headEnd + 2)
    if (headEnd === -1 || end === -1) throw broken()
    const head = decodeUtf8(bytes.subarray(at + 2, headEnd))
    const name = /content-disposition:\s*form-data\s*;(?:.*;)?\s*name="([^"]*)"/i.exec(head)?.[1]
    if (name === undefined) throw broken()
    const content = bytes.subarray(Math.min(headEnd + 4, end), end)
    const fileName = /;\s*filename="([^"]*)"/i.exec(head)?.[1]
    const unquote = (text: string): string => text.replaceAll('%0A', '\n').replaceAll('%0D', '\r').replaceAll('%22', '"')
    if (fileName === undefined) form.append(unquote(name), decodeUtf8(content))
    else form.append(unquote(name), new File([content], unquote(fileName), { type: /content-type:\s*([^\r\n]+)/i.exec(head)?.[1]?.trim() ?? 'text/plain' }))
    at = end + 2
  }
}

function entry(value: unknown, fileName: unknown): Value {
  if (!(value instanceof Blob)) return String(value).toWellFormed()
  if (value instanceof File && fileName === undefined) return value
  return new File([value], fileName === undefined ? 'blob' : String(fileName), { type: value.type })
}

function latin1(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192))
  return text
}

function broken(): TypeError {
  return new TypeError('Failed to parse body as FormData.')
}
