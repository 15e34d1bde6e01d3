/**
 * What a WebAssembly function writes to its standard output, as the answer of the invocation.
 *
 * Up to {@link INLINE_BYTES_MAX} are held back, so that status, headers and an exit code can still decide about the answer, and
 * the whole leaves in one frame. One larger piece that is written first is held back, too, as memory that is passed when nothing follows.
 * More, or a pause of the function after it has written something, begins a stream.
 *
 * Invariants:
 *   AN1. At most {@link INLINE_BYTES_MAX} wait to be sent, besides one large piece; a writer beyond that waits (`room`).
 *   AN2. The head is fixed when the answer begins; `status` and `header` say so by returning false.
 */
import { INLINE_BYTES_MAX } from '../../../src/contract/frames.ts'
import type { Invocation } from '../../node/invocation.ts'

/** How long a pausing function's first output is held back, ms: as for kind `command`. */
const HOLD_MS = 5
/** Small writes are joined in pieces of this size. */
const TAIL_BYTES = 4096

export class Answer implements AsyncIterator<Uint8Array> {
  readonly #invocation: Invocation
  readonly #defaultType: string | undefined
  #status = 200
  readonly #headers: string[] = []
  #state: 'held' | 'streaming' | 'ended' | 'closed' = 'held'
  #chunks: Uint8Array[] = []
  #bytes = 0
  #tail: Buffer | undefined
  #tailBytes = 0
  /** Written as the first and in one piece, in memory to be passed. */
  #whole: Buffer | undefined
  #onChunk: (() => void) | undefined
  #onRoom: (() => void) | undefined
  #holdTimer: NodeJS.Timeout | undefined

  /** @param defaultType Its content type, when the function says none; undefined: text when it is UTF-8. */
  constructor(invocation: Invocation, defaultType: string | undefined) {
    this.#invocation = invocation
    this.#defaultType = defaultType
  }

  get hasBegun(): boolean {
    return this.#state !== 'held'
  }

  /** Nobody wants it any more. */
  get isClosed(): boolean {
    return this.#state === 'closed' || !this.#invocation.isOpen
  }

  /** Bytes that can be written without waiting. */
  get room(): number {
    return INLINE_BYTES_MAX - this.#bytes
  }

  /** Nothing was written: the whole answer can be held. */
  get isUntouched(): boolean {
    return this.#state === 'held' && this.#bytes === 0 && this.#whole === undefined
  }

  /** @param whole Nobody else's. Only when `isUntouched`. */
  hold(whole: Buffer): void {
    this.#whole = whole
  }

  status(code: number): boolean {
    if (this.hasBegun) return false
    this.#status = code
    return true
  }

  /** @param name In any case. A content type replaces the one before. */
  header(name: string, value: string): boolean {
    if (this.hasBegun) return false
    const key = name.toLowerCase()
    const at = key === 'content-type' ? this.#headers.findIndex((text, index) => index % 2 === 0 && text === key) : -1
    if (at === -1) this.#headers.push(key, value)
    else this.#headers[at + 1] = value
    return true
  }

  /** Takes a copy of some bytes, at most `room` of them. Those of a closed answer are dropped: nobody reads them. */
  write(bytes: Uint8Array): void {
    if (bytes.length === 0 || this.isClosed) return
    this.#letStream()
    this.#bytes += bytes.length
    if (bytes.length > TAIL_BYTES / 2) {
      this.#settleTail()
      this.#chunks.push(Buffer.from(bytes))
    } else {
      // Programs that write byte by byte must not cost an object per byte.
      if (this.#tailBytes + bytes.length > TAIL_BYTES) this.#settleTail()
      this.#tail ??= Buffer.allocUnsafe(TAIL_BYTES)
      this.#tail.set(bytes, this.#tailBytes)
      this.#tailBytes += bytes.length
    }
    this.#onChunk?.()
  }

  /** Resolves when there is room, or the answer is closed. Begins the stream: more than fits one frame is to come. */
  waitForRoom(): Promise<void> {
    this.begin()
    if (this.room > 0 || this.isClosed) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  /** The function waits for something: what it has written should not wait with it. */
  pause(): void {
    if (this.#state !== 'held' || (this.#bytes === 0 && this.#whole === undefined) || this.#holdTimer !== undefined) return
    this.#holdTimer = setTimeout(() => this.begin(), HOLD_MS)
  }

  begin(): void {
    clearTimeout(this.#holdTimer)
    if (this.#state !== 'held') return
    this.#letStream()
    this.#state = 'streaming'
    this.#invocation.answerStream(this.#status, this.#headersWithType(), this)
  }

  /** Everything was written. */
  end(): void {
    clearTimeout(this.#holdTimer)
    if (this.#state === 'streaming') {
      this.#state = 'ended'
      this.#onChunk?.()
    } else if (this.#state === 'held') {
      this.#state = 'ended'
      this.#settleTail()
      const headers = this.#headersWithType()
      this.#invocation.answer(this.#status, headers, this.#whole !== undefined ? this.#whole : this.#chunks.length === 0 ? undefined : this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks))
    }
  }

  /** The function has failed: whatever was not sent is dropped. */
  drop(): void {
    clearTimeout(this.#holdTimer)
    this.#close()
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const ready = this.#take()
    if (ready !== undefined) return Promise.resolve(ready)
    return new Promise((resolve) => {
      this.#onChunk = () => {
        const taken = this.#take()
        if (taken === undefined) return
        this.#onChunk = undefined
        resolve(taken)
      }
    })
  }

  /** The receiver has gone. */
  return(): Promise<IteratorResult<Uint8Array>> {
    this.#close()
    return Promise.resolve({ done: true, value: undefined })
  }

  /** More comes than one piece: it is the stream's first. */
  #letStream(): void {
    if (this.#whole === undefined) return
    this.#chunks.push(this.#whole)
    this.#bytes += this.#whole.length
    this.#whole = undefined
  }

  #settleTail(): void {
    if (this.#tail === undefined) return
    this.#chunks.push(this.#tail.subarray(0, this.#tailBytes))
    this.#tail = undefined
    this.#tailBytes = 0
  }

  #take(): IteratorResult<Uint8Array> | undefined {
    if (this.#chunks.length === 0) this.#settleTail()
    const chunk = this.#chunks.shift()
    if (chunk === undefined) return this.#state === 'streaming' ? undefined : { done: true, value: undefined }
    this.#bytes -= chunk.length
    this.#letGo()
    return { done: false, value: chunk }
  }

  #close(): void {
    this.#state = 'closed'
    this.#chunks = []
    this.#whole = undefined
    this.#tail = undefined
    this.#tailBytes = 0
    this.#bytes = 0
    this.#letGo()
    this.#onChunk?.()
  }

  #letGo(): void {
    const onRoom = this.#onRoom
    this.#onRoom = undefined
    onRoom?.()
  }

  #headersWithType(): readonly string[] {
    if (this.#headers.some((text, index) => index % 2 === 0 && text === 'content-type')) return this.#headers
    if (this.#defaultType !== undefined) return ['content-type', this.#defaultType, ...this.#headers]
    if (this.#chunks.length === 0) this.#settleTail()
    const first = this.#whole ?? this.#chunks[0]
    if (first === undefined) return this.#headers
    return ['content-type', looksLikeText(first.subarray(0, INLINE_BYTES_MAX)) ? 'text/plain; charset=utf-8' : 'application/octet-stream', ...this.#headers]
  }
}

/** UTF-8 without a null byte. A chunk may end within a character; only a fault before its last three bytes counts. */
function looksLikeText(bytes: Uint8Array): boolean {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
  const fault = text.indexOf('\ufffd')
  return (fault === -1 || fault >= text.length - 3) && !bytes.includes(0)
}
