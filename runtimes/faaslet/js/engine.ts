/**
 * QuickJS in one faaslet's memory: values in and out, calls, jobs, limits.
 *
 * The module is quickjs.wasm of the package `quickjs-wasi` (QuickJS-ng); its JavaScript class is not used, because it makes
 * some sixty closures and maps per instance, and a faaslet lives for a hundred microseconds. Values cross as pointers to
 * boxes: 8 bytes in the guest's memory that hold a NaN-boxed JSValue.
 *
 * ```
 *   box │ u32 payload │ i32 tag │        tag 0: an integer, 3: undefined, -1: an object, -7: a string; others: qjs.h
 *
 *   root, in the 64 bytes that boot takes off the top of the stack, the one page that every call touches:
 *     0 magic │ 4 context │ 8 enter │ 12 undefined │ 16 argv │ 20 random state │ 24 shape │ 28 scratch │ 32 promise list
 * ```
 *
 * Invariants:
 *   E1. Everything that the host has to know of a booted faaslet lies in its root: a faaslet that was restored from a file, in
 *       a process that has never booted it, can be used.
 *   E2. Boxes that the host makes are freed by the host; arguments of host calls belong to the engine.
 */
import { PlatformError } from '../../../src/contract/errors.ts'
import { PAGE_BYTES } from '../../../src/pager/snapshot.ts'
import type { EngineExports, Pointer } from './engine-exports.ts'

export { quickJsBytes } from './engine-module.ts'

export const EvalFlag = { script: 0, module: 1 } as const
/** No sources, no line numbers: for the prelude, whose frames nobody wants to see. */
const STRIP_ALL = 48

const ROOT_BYTES = 64
const ROOT_MAGIC = 0x4a53_0001
const Root = { magic: 0, context: 4, enter: 8, undefined: 12, argv: 16, randomState: 20, shape: 24, scratch: 28 } as const
/** Holds the head of an ordinary request, so that it needs no allocation. */
const SCRATCH_BYTES = 8 * 1024
const ARGV_BYTES = 4 * 4 + 2 * 8
const Tag = { int: 0, undefined: 3, string: -7, object: -1 } as const

export class Engine {
  readonly exports: EngineExports
  readonly #memory: WebAssembly.Memory
  #bytes: Buffer
  #view: DataView
  readonly #root: Pointer

  private constructor(exports: EngineExports, memory: WebAssembly.Memory, root: Pointer) {
    this.exports = exports
    this.#memory = memory
    this.#bytes = Buffer.from(memory.buffer as ArrayBuffer)
    this.#view = new DataView(memory.buffer)
    this.#root = root
  }

  /** Initialises the engine in a fresh instance, without any limit yet. */
  static boot(instance: WebAssembly.Exports, memory: WebAssembly.Memory): Engine {
    const exports = instance as unknown as EngineExports
    exports._initialize()
    exports.__stack_pointer.value -= ROOT_BYTES
    const root = exports.__stack_pointer.value
    if (exports.qjs_init() !== 0) throw new PlatformError('INTERNAL', 'The JavaScript engine could not be initialised.')
    const engine = new Engine(exports, memory, root)
    engine.#bytes.fill(0, root, root + ROOT_BYTES)
    engine.#setRoot(Root.magic, ROOT_MAGIC)
    engine.#setRoot(Root.context, exports.qjs_get_context_ptr())
    engine.#setRoot(Root.undefined, exports.qjs_get_undefined())
    engine.#setRoot(Root.argv, engine.#allocate(ARGV_BYTES))
    engine.#setRoot(Root.scratch, engine.#allocate(SCRATCH_BYTES))
    return engine
  }

  /** The engine of a restored instance. @throws PlatformError INTERNAL when its memory was made by another version. */
  static restored(instance: WebAssembly.Exports, memory: WebAssembly.Memory): Engine {
    const exports = instance as unknown as EngineExports
    const engine = new Engine(exports, memory, exports.__stack_pointer.value)
    if (engine.#getRoot(Root.magic) !== ROOT_MAGIC) throw new PlatformError('INTERNAL', 'The memory of a JavaScript faaslet was made by another version; boot it again.')
    return engine
  }

  /** The guest's memory, valid until guest code runs. */
  get bytes(): Buffer {
    if (this.#bytes.buffer !== this.#memory.buffer) this.#refresh()
    return this.#bytes
  }

  get view(): DataView {
    if (this.#view.buffer !== this.#memory.buffer) this.#refresh()
    return this.#view
  }

  get shape(): number {
    return this.#getRoot(Root.shape)
  }

  set shape(index: number) {
    this.#setRoot(Root.shape, index)
  }

  set enterFunction(box: Pointer) {
    this.#setRoot(Root.enter, box)
  }

  get undefinedBox(): Pointer {
    return this.#getRoot(Root.undefined)
  }

  /** Calls the prelude's `enter`. Gives the box of the result, which the caller frees, or throws what the guest threw. */
  enter(entry: number, id: number, text: string | undefined, more: Uint8Array | Pointer | undefined): Pointer {
    const { exports } = this
    const empty = this.undefinedBox
    const argv = this.#getRoot(Root.argv)
    const textBox = text === undefined ? empty : this.newString(text)
    const moreBox = more === undefined ? empty : typeof more === 'number' ? more : this.newBytes(more)
    const { view } = this
    view.setUint32(argv, argv + 16, true)
    view.setUint32(argv + 4, argv + 24, true)
    view.setUint32(argv + 8, textBox, true)
    view.setUint32(argv + 12, moreBox, true)
    view.setInt32(argv + 16, entry, true)
    view.setInt32(argv + 20, Tag.int, true)
    view.setInt32(argv + 24, id, true)
    view.setInt32(argv + 28, Tag.int, true)
    const result = exports.qjs_call(this.#getRoot(Root.enter), empty, 4, argv)
    if (text !== undefined) exports.qjs_free_value(textBox)
    if (more instanceof Uint8Array) exports.qjs_free_value(moreBox)
    return result
  }

  /** Runs jobs until none is left. False when one failed, its exception pending. */
  drain(): boolean {
    const { exports } = this
    for (;;) {
      const done = exports.qjs_execute_pending_job()
      if (done <= 0) return done === 0
    }
  }

  newString(text: string): Pointer {
    const needed = text.length * 3
    if (needed <= SCRATCH_BYTES) {
      const at = this.#getRoot(Root.scratch)
      return this.exports.qjs_new_string(at, this.bytes.write(text, at))
    }
    const length = Buffer.byteLength(text)
    const at = this.#allocate(length + 1)
    this.bytes.write(text, at)
    const box = this.exports.qjs_new_string(at, length)
    this.exports.wasm_free(at)
    return box
  }

  newBytes(bytes: Uint8Array): Pointer {
    const at = bytes.length <= SCRATCH_BYTES ? this.#getRoot(Root.scratch) : this.#allocate(bytes.length)
    this.bytes.set(bytes, at)
    const box = this.exports.qjs_new_uint8_array(at, bytes.length)
    if (bytes.length > SCRATCH_BYTES) this.exports.wasm_free(at)
    return this.#madeOf(bytes.length, box)
  }

  /**
   * A Uint8Array of the guest over pages that are not in the engine's heap, for a content that is mapped there.
   * @param fill Gives the pages at this address, a multiple of 4096, their content.
   * @returns its box, and the address of its place, for `wasm_free` when nobody has its buffer any more.
   */
  newMapped(length: number, fill: (at: Pointer) => void): { readonly box: Pointer; readonly place: Pointer } {
    const place = this.#allocate(Math.ceil(length / PAGE_BYTES + 1) * PAGE_BYTES)
    const at = Math.ceil((place >>> 0) / PAGE_BYTES) * PAGE_BYTES
    fill(at)
    const box = this.#allocate(8)
    // It may grow the memory, and with it the view.
    const value = this.exports.JS_NewUint8Array(this.#getRoot(Root.context), at, length, 0, 0, 0)
    this.view.setBigInt64(box, value, true)
    return { box: this.#madeOf(length, box), place }
  }

  isUndefined(box: Pointer): boolean {
    return this.view.getInt32(box + 4, true) === Tag.undefined
  }

  isString(box: Pointer): boolean {
    const tag = this.view.getInt32(box + 4, true)
    // Ropes are strings too; they have the tag below.
    return tag === Tag.string || tag === Tag.string + 1
  }

  isObject(box: Pointer): boolean {
    return this.view.getInt32(box + 4, true) === Tag.object
  }

  toNumber(box: Pointer): number {
    const { view } = this
    return view.getInt32(box + 4, true) === Tag.int ? view.getInt32(box, true) : this.exports.qjs_get_float64(box)
  }

  /** The text of any value, as `String(value)` gives it. */
  toText(box: Pointer): string {
    const at = this.#cString(box)
    if (at === 0) {
      this.exports.qjs_free_value(this.exports.qjs_get_exception())
      return ''
    }
    const text = this.bytes.toString('utf8', at, at + this.#length)
    this.exports.qjs_free_cstring(at)
    return text
  }

  /** A copy of the UTF-8 of a string. */
  toUtf8(box: Pointer): Buffer {
    const at = this.#cString(box)
    const copy = Buffer.from(this.bytes.subarray(at, at + this.#length))
    this.exports.qjs_free_cstring(at)
    return copy
  }

  /** A new Uint8Array of the guest with the UTF-8 of a string. */
  encode(box: Pointer): Pointer {
    const at = this.#cString(box)
    if (at === 0) return 0
    const result = this.exports.qjs_new_uint8_array(at, this.#length)
    this.exports.qjs_free_cstring(at)
    return result
  }

  /** The bytes of a Uint8Array of the guest: a view, valid until guest code runs. */
  viewOf(box: Pointer): Buffer {
    const at = this.exports.JS_GetUint8Array(this.#getRoot(Root.context), this.#outLength, this.view.getBigInt64(box, true))
    return this.bytes.subarray(at, at + this.#length)
  }

  /** The UTF-8 in these bytes of the guest, as a string of the guest. */
  decode(bytes: Buffer, isValid: boolean): Pointer {
    return isValid ? this.exports.qjs_new_string(bytes.byteOffset, bytes.length) : this.newString(bytes.toString())
  }

  property(box: Pointer, name: string): Pointer {
    const at = this.#allocateText(name)
    const value = this.exports.qjs_get_prop_string(box, at)
    this.exports.wasm_free(at)
    return value
  }

  /** Throws an Error into the guest, when a host call returns the result of this. */
  throwError(message: string): 0 {
    const error = this.exports.qjs_new_error()
    const text = this.newString(message)
    const name = this.#allocateText('message')
    this.exports.qjs_set_prop_string(error, name, text)
    this.exports.wasm_free(name)
    this.exports.qjs_free_value(text)
    this.exports.qjs_throw(error)
    this.exports.qjs_free_value(error)
    return 0
  }

  /** @returns The box of the completion value, or of a module's promise; possibly an exception. */
  evaluate(code: string, name: string, flags: number): Pointer {
    const length = Buffer.byteLength(code)
    const at = this.#allocateText(code)
    const nameAt = this.#allocateText(name)
    const result = this.exports.qjs_eval(at, length, nameAt, flags)
    this.exports.wasm_free(at)
    this.exports.wasm_free(nameAt)
    return result
  }

  evaluateBytecode(code: Uint8Array): Pointer {
    const at = this.#allocate(code.length)
    this.bytes.set(code, at)
    const result = this.exports.qjs_eval_bytecode(at, code.length)
    this.exports.wasm_free(at)
    return result
  }

  /** @throws Error when it does not compile. */
  compile(code: string, name: string, flags: number): Buffer {
    const at = this.#allocateText(code)
    const nameAt = this.#allocateText(name)
    const compiled = this.exports.qjs_compile(at, Buffer.byteLength(code), nameAt, flags, STRIP_ALL, this.#outLength)
    if (compiled === 0) throw new Error(`${name} does not compile: ${this.toText(this.exports.qjs_get_exception())}`)
    const bytes = Buffer.from(this.bytes.subarray(compiled, compiled + this.#length))
    for (const one of [at, nameAt, compiled]) this.exports.wasm_free(one)
    return bytes
  }

  hostFunction(): Pointer {
    const at = this.#allocateText('skepHost')
    const box = this.exports.qjs_new_host_function(at, 8, 4)
    this.exports.wasm_free(at)
    return box
  }

  call(run: Pointer, ...args: readonly Pointer[]): Pointer {
    const argv = this.#allocate(Math.max(4, args.length * 4))
    args.forEach((box, index) => this.view.setUint32(argv + index * 4, box, true))
    const result = this.exports.qjs_call(run, this.undefinedBox, args.length, argv)
    this.exports.wasm_free(argv)
    return result
  }

  isException(box: Pointer): boolean {
    return this.exports.qjs_is_exception(box) !== 0
  }

  /** Bytes that the guest's values take. */
  get usedBytes(): number {
    const at = this.#allocate(26 * 8)
    this.exports.qjs_compute_memory_usage(at)
    const used = Number(this.view.getBigInt64(at, true))
    this.exports.wasm_free(at)
    return used
  }

  /**
   * Finds where the context keeps the state of Math.random, by watching which word one call changes in the way of xorshift64*.
   * @param random The box of Math.random.
   */
  findRandomState(random: Pointer): void {
    const context = this.#getRoot(Root.context)
    const before = Array.from({ length: 128 }, (_, index) => this.view.getBigUint64(context + index * 8, true))
    this.exports.qjs_free_value(this.call(random))
    const at = before.findIndex((word, index) => word !== 0n && this.view.getBigUint64(context + index * 8, true) === xorshift(word))
    if (at === -1) throw new PlatformError('INTERNAL', 'The random state of the JavaScript engine was not found; this version of quickjs-wasi cannot be used.')
    this.#setRoot(Root.randomState, context + at * 8)
  }

  /** Gives Math.random a new state. Zero, from which xorshift never leaves, is made 1. */
  seed(random: bigint): void {
    this.view.setBigUint64(this.#getRoot(Root.randomState), random === 0n ? 1n : random, true)
  }

  /** A word in the root for lengths that the engine gives back. */
  get #outLength(): Pointer {
    return this.#root + ROOT_BYTES - 8
  }

  get #length(): number {
    return this.view.getUint32(this.#outLength, true)
  }

  #cString(box: Pointer): Pointer {
    return this.exports.qjs_get_string_len(box, this.#outLength)
  }

  #getRoot(offset: number): number {
    return this.view.getUint32(this.#root + offset, true)
  }

  #setRoot(offset: number, value: number): void {
    this.view.setUint32(this.#root + offset, value, true)
  }

  #allocateText(text: string): Pointer {
    const length = Buffer.byteLength(text)
    const at = this.#allocate(length + 1)
    this.bytes.write(text, at)
    this.bytes[at + length] = 0
    return at
  }

  #allocate(bytes: number): Pointer {
    const at = this.exports.wasm_malloc(bytes) >>> 0
    if (at === 0) throw this.#noRoom(bytes)
    return at
  }

  /** @throws PlatformError FUNCTION_OUT_OF_MEMORY when the engine had no room for it. */
  #madeOf(bytes: number, box: Pointer): Pointer {
    if (!this.isException(box)) return box
    this.exports.qjs_free_value(this.exports.qjs_get_exception())
    throw this.#noRoom(bytes)
  }

  #noRoom(bytes: number): PlatformError {
    return new PlatformError('FUNCTION_OUT_OF_MEMORY', `The function's memory has no room for ${bytes} bytes that it was to be given. Deploy it with more memory, or read a stream.`)
  }

  #refresh(): void {
    this.#bytes = Buffer.from(this.#memory.buffer as ArrayBuffer)
    this.#view = new DataView(this.#memory.buffer)
  }
}

function xorshift(word: bigint): bigint {
  let x = word
  x ^= x >> 12n
  x = BigInt.asUintN(64, x ^ (x << 25n))
  return x ^ (x >> 27n)
}
