/**
 * The exports of quickjs.wasm that the engine uses, of the some 480 that it has.
 *
 * The others are dropped (engine-module.ts).
 */
/** Their names. */
export const ENGINE_EXPORTS = [
  'memory', '__stack_pointer', '_initialize', 'wasm_malloc', 'wasm_free',
  'qjs_init', 'qjs_set_memory_limit', 'qjs_set_max_stack_size', 'qjs_set_gc_threshold', 'qjs_run_gc', 'qjs_compute_memory_usage', 'qjs_set_promise_rejection_handler', 'qjs_set_module_loader',
  'qjs_get_context_ptr', 'qjs_get_global', 'qjs_get_undefined', 'qjs_new_number', 'qjs_new_host_function', 'qjs_set_prop_string', 'qjs_get_prop_string',
  'qjs_compile', 'qjs_eval', 'qjs_eval_bytecode', 'qjs_call', 'qjs_execute_pending_job', 'qjs_promise_state', 'qjs_promise_result',
  'qjs_new_string', 'qjs_get_string_len', 'qjs_free_cstring', 'qjs_new_uint8_array', 'JS_GetUint8Array', 'JS_NewUint8Array',
  'qjs_is_exception', 'qjs_get_exception', 'qjs_new_error', 'qjs_throw', 'qjs_dup_value', 'qjs_free_value', 'qjs_get_value_ptr', 'qjs_get_float64',
] as const

/** An address in the guest's memory; of a value: of its box. */
export type Pointer = number

export interface EngineExports {
  readonly memory: WebAssembly.Memory
  readonly __stack_pointer: WebAssembly.Global<'i32'>
  _initialize(): void
  wasm_malloc(bytes: number): Pointer
  wasm_free(at: Pointer): void
  qjs_init(): number
  qjs_set_memory_limit(bytes: number): void
  qjs_set_max_stack_size(bytes: number): void
  qjs_set_gc_threshold(bytes: number): void
  qjs_run_gc(): void
  qjs_compute_memory_usage(at: Pointer): void
  qjs_set_promise_rejection_handler(on: number): void
  qjs_set_module_loader(on: number): void
  qjs_get_context_ptr(): Pointer
  qjs_get_global(): Pointer
  qjs_get_undefined(): Pointer
  qjs_new_number(value: number): Pointer
  qjs_new_host_function(name: Pointer, nameLength: number, parameters: number): Pointer
  qjs_set_prop_string(object: Pointer, name: Pointer, value: Pointer): void
  qjs_get_prop_string(object: Pointer, name: Pointer): Pointer
  qjs_compile(code: Pointer, length: number, name: Pointer, flags: number, strip: number, outLength: Pointer): Pointer
  qjs_eval(code: Pointer, length: number, name: Pointer, flags: number): Pointer
  qjs_eval_bytecode(code: Pointer, length: number): Pointer
  qjs_call(run: Pointer, self: Pointer, count: number, argv: Pointer): Pointer
  qjs_execute_pending_job(): number
  qjs_promise_state(promise: Pointer): number
  qjs_promise_result(promise: Pointer): Pointer
  qjs_new_string(text: Pointer, length: number): Pointer
  qjs_get_string_len(value: Pointer, outLength: Pointer): Pointer
  qjs_free_cstring(text: Pointer): void
  qjs_new_uint8_array(bytes: Pointer, length: number): Pointer
  JS_GetUint8Array(context: Pointer, outLength: Pointer, value: bigint): Pointer
  JS_NewUint8Array(context: Pointer, bytes: Pointer, length: number, free: Pointer, opaque: Pointer, isShared: number): bigint
  qjs_is_exception(value: Pointer): number
  qjs_get_exception(): Pointer
  qjs_new_error(): Pointer
  qjs_throw(value: Pointer): void
  qjs_dup_value(value: Pointer): Pointer
  qjs_free_value(value: Pointer): void
  qjs_get_value_ptr(value: Pointer): Pointer
  qjs_get_float64(value: Pointer): number
}
