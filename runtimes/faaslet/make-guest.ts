/**
 * Makes the guest of a revision: WebAssembly from its own module, JavaScript from the engine that all of them share.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { FrameType, LogLevel } from '../../src/contract/frames.ts'
import type { FaasletInit, InitedFrame, InitFrame, LogLevelName } from '../../src/contract/frames.ts'
import { Call } from '../node/calls.ts'
import type { CallOptions } from '../node/calls.ts'
import type { Host } from '../node/host.ts'
import type { Entries } from './enter.ts'
import type { Faaslet, Guest, GuestModule } from './guest.ts'
import type { HostMemory } from './passed-memory.ts'
import { JavaScriptGuest } from './js/guest.ts'
import { decodePrelude } from './js/prelude-file.ts'
import type { Prelude } from './js/prelude-file.ts'
import { directoryFiles } from './wasi/app-files.ts'
import { makeWasiGuest } from './wasi/guest.ts'
import { rewriteModule } from './wasm/rewrite.ts'

export interface MadeGuest {
  readonly guest: Guest
  /** Known from the module, or from the first faaslet. */
  shape: InitedFrame['shape'] | undefined
  shapeOf(faaslet: Faaslet): InitedFrame['shape']
}

export interface MakeGuestOptions {
  readonly frame: InitFrame
  readonly init: FaasletInit
  readonly directory: string
  readonly bytes: Uint8Array
  readonly entries: Entries
  readonly host: Host
  /** By which bodies are mapped into the guest; absent where they are copied. */
  readonly memory: HostMemory | undefined
}

/** The engine of kind js, compiled: once per host, ahead of its first function. */
export interface JavaScriptEngine {
  readonly module: GuestModule
  readonly prelude: Prelude
}

let engine: Promise<JavaScriptEngine> | undefined

/** @param directory With quickjs.wasm and prelude.bin (bundle.ts). Takes some 20 ms the first time. */
export function javaScriptEngine(directory = import.meta.dirname): Promise<JavaScriptEngine> {
  engine ??= compileEngine(directory)
  return engine
}

/** @throws PlatformError CODE_INVALID, HANDLER_NOT_FOUND. */
export async function makeGuest({ frame, init, directory, bytes, entries, host, memory }: MakeGuestOptions): Promise<MadeGuest> {
  const { enter, running } = entries
  const network = init.network === 'host' ? { fetch } : {}
  if (init.kind === 'js') {
    const { module, prelude } = await javaScriptEngine()
    const map = join(directory, `${frame.entry}.map`)
    const guest = new JavaScriptGuest({
      // The limit of this function, on the module of all.
      module: { ...module, memoryPagesMax: Math.max(module.memoryPagesMin, frame.memoryMb * 16) },
      prelude,
      source: new TextDecoder().decode(bytes),
      ...(existsSync(map) && { sourceMap: readFileSync(map, 'utf8') }),
      frame,
      enter,
      running,
      open: (options: CallOptions) => new Call(host, options),
      log: (stream, level, text) => sendLog(host, stream, level, text),
      memory,
      ...network,
    })
    return { guest, shape: undefined, shapeOf: (faaslet) => guest.shapeOf(faaslet) }
  }
  const guest = await makeWasiGuest({
    bytes,
    frame,
    memoryBytesMax: frame.memoryMb * 1024 * 1024,
    files: directoryFiles(directory),
    enter,
    running,
    log: (level, text, stream) => sendLog(host, stream, level, text),
    call: (options) => new Call(host, options),
    memory,
    ...network,
  })
  const shape = guest.shape.kind === 'command' ? 'command' : 'handler'
  return { guest, shape, shapeOf: () => shape }
}

async function compileEngine(directory: string): Promise<JavaScriptEngine> {
  const { boot, restore, ...facts } = rewriteModule(readFileSync(join(directory, 'quickjs.wasm')), { memoryPagesMax: 65_536 })
  const [bootModule, restoreModule] = await Promise.all([WebAssembly.compile(boot as BufferSource), WebAssembly.compile(restore as BufferSource)])
  return { module: { ...facts, boot: bootModule, restore: restoreModule }, prelude: decodePrelude(readFileSync(join(directory, 'prelude.bin'))) }
}

/** One entry, in as many frames as it needs. */
function sendLog(host: Host, stream: number, level: LogLevelName, text: string): void {
  for (let at = 0; at === 0 || at < text.length; at += LOG_CHARACTERS) {
    host.channel.send(FrameType.log, 0, stream, Buffer.concat([Buffer.of(LogLevel[level]), Buffer.from(text.slice(at, at + LOG_CHARACTERS))]))
  }
}

/** In one frame of at most 1 MB: a character has up to three bytes. */
const LOG_CHARACTERS = 256 * 1024
