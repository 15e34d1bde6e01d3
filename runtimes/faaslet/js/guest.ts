/**
 * JavaScript as a guest: QuickJS with the prelude and the function's bundle evaluated, as a snapshot.
 *
 * Booting evaluates the prelude (the web's globals, the SDK, the handler shapes; compiled to bytecode once per version of the platform)
 * and then the function's bundle as an ES module. What the memory holds afterwards is a function that has loaded. A
 * restored faaslet is given one invocation by one call; see ops.ts for what the two sides say to each other.
 *
 * Decided: code may compute while it loads, and wait for promises that need nothing from outside. It may not wait for time, network
 * or other functions (INIT_FAILED), nor draw secure random values, because every faaslet would go on with the same ones. Timers
 * that are set while loading begin with the first invocation. Math.random is allowed: its state is new in every faaslet,
 * what was drawn before stays.
 *
 * Invariants:
 *   G1 and G2 of ../guest.ts.
 *   R1. Before the first invocation of a faaslet, its random state is new.
 */
import { randomBytes } from 'node:crypto'
import { PlatformError, type PlatformErrorBody } from '../../../src/contract/errors.ts'
import type { InitFrame, LogLevelName } from '../../../src/contract/frames.ts'
import type { Call, CallOptions } from '../../node/calls.ts'
import type { Invocation } from '../../node/invocation.ts'
import type { Enter, Faaslet, Guest, GuestModule, Running } from '../guest.ts'
import type { HostMemory } from '../passed-memory.ts'
import { Engine, EvalFlag } from './engine.ts'
import { engineImports } from './imports.ts'
import { Life } from './life.ts'
import { Entry, SHAPES, type Shape, type StartInfo, type WireError } from './ops.ts'
import type { Prelude } from './prelude-file.ts'
import { StackMapper } from './stacks.ts'
import { trapped } from './traps.ts'

export interface JavaScriptGuestOptions {
  readonly module: GuestModule
  readonly prelude: Prelude
  /** The function's bundle: one ES module that imports at most `skep`. */
  readonly source: string
  /** Of the bundle, as JSON: stacks then name the user's files. */
  readonly sourceMap?: string | undefined
  readonly frame: InitFrame
  readonly enter: Enter
  readonly running: Running
  /** Calls another function (node/calls.ts). */
  readonly open: (options: CallOptions) => Call
  /** One log entry; stream 0 while the code loads. */
  readonly log: (stream: number, level: LogLevelName, text: string) => void
  /** Given where bodies can be passed as memory. */
  readonly memory?: HostMemory | undefined
  /** Absent: the function has no network. */
  readonly fetch?: typeof fetch | undefined
}

/** What QuickJS may use of its stack of 1 MB (the package's own bound): some 2,100 calls deep. */
const STACK_BYTES_MAX = 512 * 1024
/**
 * V8's own stack, for `node --stack-size`: the engine's C code recurses on that one too. With this much, code that recurses without end
 * gets QuickJS's RangeError, which it can catch; with V8's default of 984 KB the faaslet may end instead (limits.test.ts). Below
 * the 8 MB that a main thread usually has.
 */
export const HOST_STACK_KB = 3900
/** Stack, static data and the engine's own tables, beside what the limit counts. */
const ENGINE_BYTES = 2 * 1024 * 1024
/**
 * Free memory that a snapshot has, for most faaslets to live on without growing: a memory that has grown cannot be restored again, and a new one
 * for each invocation has V8 collect garbage every few dozen of them. Its pages are zero and take no room on the disk.
 */
const ROOM_BYTES = 1024 * 1024
/** Garbage that a faaslet may pile up before cycles are looked for, which touches every page: most faaslets end earlier. */
const GARBAGE_BYTES_MAX = 16 * 1024 * 1024

export class JavaScriptGuest implements Guest {
  readonly imports: WebAssembly.Imports
  readonly module: GuestModule
  readonly frame: InitFrame
  readonly enter: Enter
  readonly open: (options: CallOptions) => Call
  readonly log: (stream: number, level: LogLevelName, text: string) => void
  readonly memory: HostMemory | undefined
  readonly running: Running
  readonly fetch: typeof fetch | undefined
  /** Bytes of values that the function may have. */
  readonly memoryLimit: number
  readonly #prelude: Prelude
  readonly #source: string
  readonly #stacks: StackMapper
  #booting: Life | undefined

  constructor(options: JavaScriptGuestOptions) {
    this.module = options.module
    this.frame = options.frame
    this.enter = options.enter
    this.open = options.open
    this.log = options.log
    this.memory = options.memory
    this.running = options.running
    this.fetch = options.fetch
    this.imports = engineImports(options.running)
    this.memoryLimit = Math.max(1, options.frame.memoryMb) * 1024 * 1024 - ENGINE_BYTES
    this.#prelude = options.prelude
    this.#source = options.source
    this.#stacks = new StackMapper(options.frame.entry, options.sourceMap)
  }

  /** @throws PlatformError CODE_INVALID, INIT_FAILED, HANDLER_NOT_FOUND or FUNCTION_OUT_OF_MEMORY. */
  async boot(faaslet: Faaslet): Promise<void> {
    this.enter(faaslet, () => {
      try {
        this.#boot(faaslet)
      } catch (thrown) {
        const error = trapped(thrown)
        throw error.code === 'FUNCTION_THREW' ? new PlatformError('INIT_FAILED', `"${this.frame.entry}" failed while it was loaded: ${error.message}`, { cause: error }) : error
      } finally {
        this.#booting = undefined
      }
    })
    faaslet.state = undefined
  }

  invoke(faaslet: Faaslet, invocation: Invocation): Promise<void> {
    if (faaslet.state === undefined) {
      const engine = Engine.restored(faaslet.exports, faaslet.memory)
      engine.seed(randomBytes(8).readBigUInt64LE())
      faaslet.state = new Life(this, faaslet, engine)
    }
    return (faaslet.state as Life).invoke(invocation)
  }

  cutOff(faaslet: Faaslet): string | undefined {
    return (faaslet.state as Life).cutOff
  }

  rest(faaslet: Faaslet): void {
    const { engine } = faaslet.state as Life
    this.enter(faaslet, () => {
      const result = engine.enter(Entry.rest, 0, undefined, undefined)
      // The function has replaced what the prelude needs for it.
      if (engine.isException(result)) throw new PlatformError('FUNCTION_THREW', 'its code threw while it was brought to rest')
      engine.exports.qjs_free_value(result)
      this.#tidy(engine)
    })
  }

  isReusable(faaslet: Faaslet): boolean {
    return (faaslet.state as Life | undefined)?.isReusable ?? true
  }

  /** The handler's shape, of a booted or restored faaslet. */
  shapeOf(faaslet: Faaslet): Shape {
    return SHAPES[Engine.restored(faaslet.exports, faaslet.memory).shape]!
  }

  isBooting(life: Life): boolean {
    return life === this.#booting
  }

  /** What the guest says has failed, with its stack in the user's files. */
  errorOf(body: PlatformErrorBody): PlatformError {
    if (body.code === 'FUNCTION_THREW' && body.message.startsWith('InternalError: out of memory')) {
      return new PlatformError('FUNCTION_OUT_OF_MEMORY', `The function needed more than its ${this.frame.memoryMb} MB of memory. Deploy it with more (--memory).`, this.#stackOf(body))
    }
    const message = body.code === 'FUNCTION_THREW' ? body.message + hint(body.message) : body.message
    return new PlatformError(body.code, message, { ...(body.details !== undefined && { details: body.details }), ...this.#stackOf(body) })
  }

  /** What a body's source threw: for whoever sends the body, who makes it the platform's. */
  sourceError({ name, message, stack }: WireError): Error {
    const error = new Error(message)
    error.name = name === '' ? 'Error' : name
    error.stack = `${error.name}: ${message}${stack === undefined ? '' : `\n${this.#stacks.map(stack)}`}`
    return error
  }

  /** What the guest's code threw. */
  thrown({ name, message, stack }: WireError): PlatformError {
    const text = name === '' ? message : `${name}: ${message}`
    return this.errorOf({ code: 'FUNCTION_THREW', message: text, ...(stack !== undefined && { stack: `${text}\n${stack}` }) })
  }

  #stackOf({ stack }: PlatformErrorBody): { readonly functionStack?: string } {
    return stack === undefined ? {} : { functionStack: this.#stacks.map(stack) }
  }

  #boot(faaslet: Faaslet): void {
    const engine = Engine.boot(faaslet.exports, faaslet.memory)
    const life = new Life(this, faaslet, engine)
    faaslet.state = life
    this.#booting = life
    const { exports } = engine
    exports.qjs_set_max_stack_size(STACK_BYTES_MAX)
    const global = exports.qjs_get_global()
    const math = engine.property(global, 'Math')
    const random = engine.property(math, 'random')
    engine.findRandomState(random)
    const main = this.#expect(life, engine.evaluateBytecode(this.#prelude.main))
    const host = engine.hostFunction()
    engine.enterFunction = this.#expect(life, engine.call(main, host))
    for (const box of [global, math, random, main, host]) exports.qjs_free_value(box)
    const { environment, entry, handler } = this.frame
    const start: StartInfo = { environment, entry }
    exports.qjs_free_value(this.#expect(life, engine.enter(Entry.start, 0, JSON.stringify(start), undefined)))
    exports.qjs_free_value(this.#expect(life, engine.evaluateBytecode(this.#prelude.sdk)))
    exports.qjs_set_promise_rejection_handler(1)
    exports.qjs_set_module_loader(1)
    exports.qjs_set_memory_limit(this.memoryLimit)
    const namespace = this.#evaluate(life)
    const shape = this.#expect(life, engine.enter(Entry.loaded, 0, handler ?? '', namespace))
    engine.shape = engine.toNumber(shape)
    for (const box of [shape, namespace]) exports.qjs_free_value(box)
    life.settleJobs()
    this.#tidy(engine)
  }

  /** Before a snapshot: no garbage is in it, and room for what comes. */
  #tidy(engine: Engine): void {
    const { exports } = engine
    exports.qjs_run_gc()
    exports.qjs_set_gc_threshold(engine.usedBytes + Math.min(GARBAGE_BYTES_MAX, this.memoryLimit >> 2))
    const room = exports.wasm_malloc(Math.min(ROOM_BYTES, this.memoryLimit >> 2))
    if (room !== 0) exports.wasm_free(room)
  }

  /** The namespace of the user's module. */
  #evaluate(life: Life): number {
    const { engine } = life
    const { exports } = engine
    const { entry } = this.frame
    const evaluated = engine.evaluate(this.#source, entry, EvalFlag.module)
    if (engine.isException(evaluated)) throw this.#loadError(life, exports.qjs_get_exception())
    life.settleJobs()
    const state = exports.qjs_promise_state(evaluated)
    if (state === 0) {
      throw new PlatformError(
        'INIT_FAILED',
        `"${entry}" waits at its top level for something that comes from outside (a timer, fetch, another function). In kind js the code is loaded once, before any invocation: await it inside the handler.`,
      )
    }
    const result = exports.qjs_promise_result(evaluated)
    exports.qjs_free_value(evaluated)
    if (state === 2) throw this.#loadError(life, result)
    return result
  }

  #loadError(life: Life, reason: number): PlatformError {
    const error = this.#describe(life, reason)
    const { entry } = this.frame
    if (error.name === 'SyntaxError' || error.message.startsWith('Cannot find module ')) {
      const place = this.#stacks.placeOf(error.stack ?? '')
      return new PlatformError('CODE_INVALID', `${place ?? entry}: ${error.message}`, { details: { entry, ...(place !== undefined && { place }) } })
    }
    const { code, message, functionStack } = this.thrown(error)
    if (code === 'FUNCTION_OUT_OF_MEMORY') return new PlatformError(code, message)
    return new PlatformError('INIT_FAILED', `"${entry}" failed while it was loaded: ${message}`, functionStack === undefined ? {} : { functionStack })
  }

  /** The value, or its exception thrown as the platform's. */
  #expect(life: Life, box: number): number {
    if (!life.engine.isException(box)) return box
    const { name, code, message, details } = this.#describe(life, life.engine.exports.qjs_get_exception())
    if (name === 'PlatformError') throw PlatformError.fromBody({ code: code as 'INTERNAL', message, ...(details !== undefined && { details }) })
    throw new PlatformError('INTERNAL', `The JavaScript engine's prelude failed: ${name}: ${message}`)
  }

  #describe(life: Life, reason: number): WireError {
    const { engine } = life
    engine.exports.qjs_set_memory_limit(0)
    try {
      const result = engine.enter(Entry.describe, 0, undefined, reason)
      if (!engine.isException(result)) return JSON.parse(engine.toText(result)) as WireError
    } catch {
      // The prelude is not there yet.
    }
    return { name: 'Error', message: engine.toText(reason) }
  }
}

/** A word about names that Node has and this engine has not, for whoever meets them only while the code runs. */
function hint(message: string): string {
  const name = /^ReferenceError: (\w+) is not defined/.exec(message)?.[1]
  return name !== undefined && NODE_NAMES.has(name) ? `. Kind js has no ${name}: use the web's own interfaces (Uint8Array, TextEncoder, …), or deploy with kind node.` : ''
}

const NODE_NAMES = new Set(['Buffer', 'require', 'module', 'exports', '__dirname', '__filename', 'global', 'setImmediate', 'clearImmediate', 'WebAssembly', 'Intl', 'WebSocket', 'Worker'])
