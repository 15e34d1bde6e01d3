/**
 * Puts what the web has into the global object.
 */
import { LightHeaders } from '../../../node/web/light-headers.ts'
import { AbortController, AbortSignal } from './abort.ts'
import { Blob, File } from './blob.ts'
import { webConsole } from './console.ts'
import { webCrypto } from './crypto.ts'
import { TextDecoder, TextDecoderStream, TextEncoder, TextEncoderStream } from './encoding.ts'
import { CustomEvent, Event, EventTarget } from './events.ts'
import { fetch } from './fetch.ts'
import { FormData } from './form-data.ts'
import { webProcess } from './process.ts'
import { ReadableStreamDefaultController } from './readable-core.ts'
import { ReadableStream, ReadableStreamBYOBReader, ReadableStreamDefaultReader } from './readable.ts'
import { Request } from './request.ts'
import { Response } from './response.ts'
import { structuredClone } from './structured-clone.ts'
import { clearTimeout, setImmediate, setInterval, setTimeout, webPerformance } from './timers.ts'
import { ByteLengthQueuingStrategy, CountQueuingStrategy, TransformStream } from './transform.ts'
import { URL } from './url.ts'
import { URLSearchParams } from './url-search-params.ts'
import { WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter } from './writable.ts'

const globals = {
  AbortController, AbortSignal, Blob, ByteLengthQueuingStrategy, CountQueuingStrategy, CustomEvent, Event, EventTarget, File, FormData, Headers: LightHeaders,
  ReadableStream, ReadableStreamBYOBReader, ReadableStreamDefaultController, ReadableStreamDefaultReader, Request, Response, TextDecoder, TextDecoderStream,
  TextEncoder, TextEncoderStream, TransformStream, URL, URLSearchParams, WritableStream, WritableStreamDefaultController, WritableStreamDefaultWriter,
  clearImmediate: clearTimeout, clearInterval: clearTimeout, clearTimeout, console: webConsole, crypto: webCrypto, fetch, global: globalThis, performance: webPerformance,
  process: webProcess, setImmediate, setInterval, setTimeout, structuredClone,
}

export function installGlobals(): void {
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false })
    // The bundler may have renamed a class, to keep it apart from the global of its name.
    if (typeof value === 'function' && /^[A-Z]/.test(name)) Object.defineProperty(value, 'name', { value: name, configurable: true })
  }
}
