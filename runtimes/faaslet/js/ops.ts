/**
 * The words between the host and the JavaScript inside a guest: one function each way, and small numbers for what is meant.
 *
 * Inside, `skepHost(op, …)` asks the host; outside, `enter(entry, id, text, bytes)` calls the prelude. Whatever takes
 * time is asked with an id that the guest chose, and comes back as an entry with the same id. Arguments are numbers,
 * strings and Uint8Arrays; anything richer is JSON in a string.
 *
 * ```
 *   guest                                   host
 *     │ ◀── invoke(flags, head, body) ────── │
 *     │ ─── call(7, head, body) ───────────▶ │   a call of another function, or fetch
 *     │ ◀── answered(7, head) ────────────── │
 *     │ ─── read(7) ───────────────────────▶ │   a body comes in, chunk by chunk as it is read
 *     │ ◀── chunk(7, bytes) | end(7) ─────── │
 *     │ ─── answerStream(status, headers) ─▶ │
 *     │ ◀── pull(0) ──────────────────────── │   a body goes out, chunk by chunk as there is credit
 *     │ ─── give(0, bytes) | giveEnd(0) ───▶ │
 * ```
 *
 * Invariants:
 *   J1. Stream 0 is the invocation's own: its request body in, its answer's body out. Calls have ids from 1.
 *   J2. Per id and direction at most one `read` or `pull` is open.
 */
export const HostOp = {
  /** level, text */
  log: 0,
  /** text */
  answerText: 1,
  /** status, headers as JSON, body: string, bytes or undefined */
  answer: 2,
  /** status, headers as JSON */
  answerStream: 3,
  /** JSON of a PlatformErrorBody */
  fail: 4,
  /** id, bytes or string */
  give: 5,
  /** id */
  giveEnd: 6,
  /** id, JSON of a {@link WireError} */
  giveError: 7,
  /** id */
  read: 8,
  /** id: the rest is not wanted */
  discard: 9,
  /** id, JSON of an OpenHead, body (null: it is pulled), timeout in ms or -1 */
  call: 10,
  /** id, JSON of a {@link FetchHead}, body (null: it is pulled) */
  fetch: 11,
  /** id: nobody waits for the call any more */
  abort: 12,
  /** id, ms */
  timer: 13,
  /** id */
  clearTimer: 14,
  /** bytes → filled in place */
  random: 15,
  /** +1 or -1 */
  lateWork: 16,
  /** text, base or undefined → JSON of {@link UrlParts}, or undefined when it is no URL */
  url: 17,
  /** href, name of the property, value → JSON of {@link UrlParts} */
  urlSet: 18,
  /** bytes → text, as UTF-8 decodes */
  decode: 19,
  /** well-formed text → bytes */
  encode: 20,
  /** bytes → 1 when they are UTF-8 */
  isUtf8: 21,
  /** → JSON of {@link FrameInfo} */
  frame: 22,
  /** what happened, JSON of a {@link WireError}: for the log, with the stack in the user's files */
  uncaught: 23,
  /** address of a place that {@link Entry.adopt} named: nobody has its buffer any more */
  unmap: 24,
} as const

export const Entry = {
  /** text: JSON of {@link StartInfo}. Before the user's code. */
  start: 0,
  /** text: the handler's name or empty; fourth argument: the module's namespace. Returns the index of the shape in {@link SHAPES}. */
  loaded: 1,
  /** id: {@link InvokeFlag}s; text: JSON of the OpenHead; bytes: the body, when it is complete and not empty */
  invoke: 2,
  /** id: the next chunk of an outgoing body is wanted */
  pull: 3,
  /** id: nobody wants the rest of an outgoing body */
  stop: 4,
  /** id, bytes: of an incoming body */
  chunk: 5,
  /** id: an incoming body has ended */
  end: 6,
  /** id, text: JSON of a {@link WireError}: a call failed, or an incoming body broke off */
  broke: 7,
  /** id, text: JSON of a {@link CallHead}; bytes: the body when it is complete, undefined when it must be read */
  answered: 8,
  /** id */
  timer: 9,
  cancel: 10,
  /** id: 1 when it was thrown, 0 when a promise was rejected; fourth argument: the reason that nobody handled */
  unhandled: 11,
  /** fourth argument: anything thrown. Returns JSON of a {@link WireError}. */
  describe: 12,
  /** id: the address of its place; fourth argument: a Uint8Array that is not in the engine's heap, and comes with the next entry */
  adopt: 13,
  /** Between two invocations, before the memory is captured: the next one is the first of a new faaslet. */
  rest: 14,
} as const

export const InvokeFlag = { event: 1, bodyFollows: 2 } as const
export const SHAPES = ['fetch', 'main', 'handler'] as const
export type Shape = (typeof SHAPES)[number]

export interface StartInfo {
  readonly environment: Readonly<Record<string, string>>
  readonly entry: string
}

/** What `context()` tells, beside the invocation's own. */
export interface FrameInfo {
  readonly namespace: string
  readonly function: string
  readonly revision: number
  readonly instance: string
  readonly memoryMb: number
}

export interface FetchHead {
  readonly url: string
  readonly method: string
  /** name, value, … */
  readonly headers: readonly string[]
  readonly redirect: RequestRedirect
}

export interface CallHead {
  readonly s: number
  readonly h: readonly string[]
  /** For fetch only. */
  readonly text?: string
  readonly url?: string
  readonly redirected?: boolean
  /** There is a body to be read. */
  readonly b?: boolean
}

export interface WireError {
  readonly name: string
  readonly message: string
  readonly code?: string
  readonly details?: Readonly<Record<string, unknown>>
  readonly stack?: string
  readonly cause?: string
}

export interface UrlParts {
  readonly href: string
  readonly protocol: string
  readonly username: string
  readonly password: string
  readonly host: string
  readonly hostname: string
  readonly port: string
  readonly pathname: string
  readonly search: string
  readonly hash: string
  readonly origin: string
}
