/**
 * Makes V8's compiled form of the bundled runtime: runs it once, with a function that does nothing, and keeps what V8 compiled.
 *
 * It runs because V8 compiles a function when it is first called: so the cache has exactly what a start, loading code and the
 * first invocation need. The process that runs it is a child, to which the parent speaks frames as the platform does:
 *
 *   node code-cache.ts DIRECTORY/main.cjs ARGUMENTS     runs the bundle, and writes DIRECTORY/main.cache when it ends
 *
 * V8 refuses a cache of another version of itself, or of other flags: the directory is keyed by Node's version, and the flags are
 * those of the platform's command.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Script } from 'node:vm'
import { encodeFrame, encodeHeadFrame, FrameDecoder, FrameFlag, FrameType, type InitFrame, type OpenHead } from '../../src/contract/frames.ts'

/** For a run that takes 100 ms, on a busy machine. */
const RUN_MS_MAX = 20_000
const STREAM = 2

/** How the entries are run: the arguments, and the file that is the function. */
const runs = {
  main: { args: [], entry: 'hello.mjs', source: `export default { fetch: (request) => new Response(request.method) }` },
  bridge: { args: ['command'], entry: 'hello', source: '#!/bin/sh\necho hello\n' },
} as const

/** Writes `NAME.cache` beside `NAME.cjs`. @throws when the bundle does not run; then there is no file. */
export async function makeCodeCache(directory: string, name: keyof typeof runs): Promise<void> {
  const { args, entry, source } = runs[name]
  const code = mkdtempSync(join(tmpdir(), 'skep-code-cache-'))
  try {
    writeFileSync(join(code, entry), source, { mode: 0o755 })
    await runOnce(['--expose-internals', import.meta.filename, join(directory, `${name}.cjs`), ...args], code, entry)
  } finally {
    rmSync(code, { recursive: true, force: true })
  }
}

/** Starts the runtime, loads the function, invokes it once, and stops it. */
async function runOnce(command: readonly string[], code: string, entry: string): Promise<void> {
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], SKEP_APP_DIR: code }, timeout: RUN_MS_MAX, killSignal: 'SIGKILL' })
  const channel = child.stdio[3] as Duplex
  // That it is gone is told by its exit.
  channel.on('error', () => {})
  const decoder = new FrameDecoder((type, flags, stream) => {
    if (type === FrameType.inited) {
      const head: OpenHead = { k: 'http', m: 'GET', u: '/', h: ['host', 'localhost'], i: 'first' }
      channel.write(encodeHeadFrame(FrameType.open, FrameFlag.end, STREAM, JSON.stringify(head), undefined))
    } else if (stream === STREAM && ((flags & FrameFlag.end) !== 0 || type === FrameType.reset)) channel.write(encodeFrame(FrameType.stop, 0, 0))
  })
  channel.on('data', (chunk: Buffer) => decoder.push(chunk))
  const init: InitFrame = { namespace: 'none', function: 'hello', revision: 1, instance: 'none', entry, environment: {}, concurrency: 1, memoryMb: 128 }
  channel.write(encodeFrame(FrameType.init, 0, 0, JSON.stringify(init)))
  const [printed, [status, signal]] = await Promise.all([text(child.stderr!), once(child, 'exit') as Promise<[number | null, string | null]>])
  if (status !== 0) throw new Error(`the bundled runtime ended with ${status ?? signal}: ${printed}`)
}

/** In the child. */
function runAndKeep(starter: string): void {
  const { load, run } = createRequire(import.meta.url)(starter) as { readonly load: () => Script; readonly run: (script: Script) => void }
  // Node's own place for it, from where the runtime takes its arguments.
  process.argv.splice(1, 1)
  const script = load()
  process.on('exit', (status) => {
    if (status !== 0) return
    const cache = script.createCachedData()
    writeFileSync(starter.replace(/\.cjs$/, '.cache'), Buffer.concat([cache, cache]))
  })
  run(script)
}

if (import.meta.main) runAndKeep(process.argv[2]!)
