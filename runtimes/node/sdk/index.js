/**
 * What user code imports as `skep`. JavaScript, because Node strips no types below node_modules; the types are in index.d.ts.
 *
 * It holds no logic: the runtime of the sandbox is found behind a global symbol, so a bundled copy works as well.
 */
export class SkepError extends Error {
  name = 'SkepError'

  constructor(code, message, { details, stack, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.details = details
    /** The stack of the called function's code. */
    this.functionStack = stack
  }
}

export async function invoke(name, payload, options) {
  return typed(runtime().invoke(name, payload, options))
}

export async function invokeAsync(name, payload, options) {
  return typed(runtime().invokeAsync(name, payload, options))
}

export async function invokeAll(name, payloads, options) {
  return typed(runtime().invokeAll(name, payloads, options))
}

export async function put(object, options) {
  return typed(runtime().put(object, options))
}

export async function get(reference, options) {
  return typed(runtime().get(reference, options))
}

export function getStream(reference, options) {
  return runtime().getStream(reference, options, skepError)
}

export function allocate(bytes) {
  try {
    return runtime().allocate(bytes)
  } catch (error) {
    throw skepError(error)
  }
}

export async function fetchFunction(name, input, init) {
  return typed(runtime().fetchFunction(name, input, init))
}

export function context() {
  return runtime().context()
}

export const log = {
  debug: (message, fields) => runtime().log.debug(message, fields),
  info: (message, fields) => runtime().log.info(message, fields),
  warn: (message, fields) => runtime().log.warn(message, fields),
  error: (message, fields) => runtime().log.error(message, fields),
}

function runtime() {
  const found = globalThis[Symbol.for('skep.runtime')]
  if (found === undefined) {
    throw new SkepError('RUNTIME_MISSING', 'The "skep" module works only inside a function that Skep runs. Deploy it with `skep deploy`, or run it with `skep dev`.')
  }
  return found
}

/** The platform's errors, as the SDK's own class; anything else (an AbortError) as it is. */
async function typed(promise) {
  try {
    return await promise
  } catch (error) {
    throw skepError(error)
  }
}

function skepError(error) {
  if (error?.name !== 'PlatformError') return error
  return new SkepError(error.code, error.message, { details: error.details, stack: error.functionStack, cause: error })
}
