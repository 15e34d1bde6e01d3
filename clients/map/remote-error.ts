/**
 * An error that the user's function threw, on its way from there to the program that asked.
 *
 * It keeps name, message, code, cause and the remote stack, whose frames are those of the user's sources; below them stands the
 * place in the program that asked.
 */

/** An error as structured data. */
export interface ErrorFacts {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  readonly cause?: ErrorFacts
}

const CAUSES_MAX = 8

export class RemoteError extends Error {
  override readonly name: string
  readonly code: string | undefined
  /** The stack where the function threw. */
  readonly remoteStack: string | undefined
  /** Of the invocation that threw: `skep get invocation ID` shows it. */
  readonly invocationId: string | undefined

  /** @param askedBy Frames of the program that asked. */
  constructor(facts: ErrorFacts, options: { readonly invocationId?: string | undefined; readonly askedBy?: string | undefined } = {}) {
    super(facts.message, facts.cause === undefined ? {} : { cause: new RemoteError(facts.cause) })
    this.name = facts.name
    this.code = facts.code
    this.remoteStack = facts.stack === undefined ? undefined : ownFrames(facts.stack)
    this.invocationId = options.invocationId
    const asked = options.askedBy === undefined ? '' : `\n    --- remote, invocation ${options.invocationId}; asked for ---\n${options.askedBy}`
    this.stack = `${this.remoteStack ?? `${facts.name}: ${facts.message}`}${asked}`
  }
}

/** Without the frames of what called the function (remote.ts), and with paths below the root of the code. */
function ownFrames(stack: string): string {
  return stack.split('\n').filter((line) => !line.includes('skep-map-remote.mjs')).join('\n').replaceAll(/(?:file:\/\/)?\/app\//g, '')
}

/** Of whatever was thrown. */
export function factsOf(thrown: unknown, depth = 0): ErrorFacts {
  if (!(thrown instanceof Error)) return { name: 'Error', message: typeof thrown === 'string' ? thrown : `thrown, and no Error: ${describe(thrown)}` }
  const code = (thrown as { code?: unknown }).code
  return {
    name: String(thrown.name),
    message: String(thrown.message),
    ...(typeof thrown.stack === 'string' && { stack: thrown.stack }),
    ...(typeof code === 'string' && { code }),
    ...(thrown.cause !== undefined && depth < CAUSES_MAX && { cause: factsOf(thrown.cause, depth + 1) }),
  }
}

function describe(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value
  }
}
