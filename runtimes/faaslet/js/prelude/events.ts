/**
 * Events without a tree: what AbortSignal needs, and what user code may build on.
 *
 * Source: DOM standard, sections 2.2 and 2.7. Left out: capture and bubbling, since there are no parents.
 */
export class Event {
  readonly type: string
  readonly bubbles: boolean
  readonly cancelable: boolean
  readonly composed: boolean
  readonly timeStamp = performance.now()
  target: EventTarget | null = null
  currentTarget: EventTarget | null = null
  defaultPrevented = false
  #stopped = false

  constructor(type: string, init: EventInit = {}) {
    if (arguments.length === 0) throw new TypeError('Event: a type is needed.')
    this.type = String(type)
    this.bubbles = init.bubbles === true
    this.cancelable = init.cancelable === true
    this.composed = init.composed === true
  }

  preventDefault(): void {
    if (this.cancelable) this.defaultPrevented = true
  }

  stopPropagation(): void {}

  stopImmediatePropagation(): void {
    this.#stopped = true
  }

  get wasStopped(): boolean {
    return this.#stopped
  }
}

export class CustomEvent extends Event {
  readonly detail: unknown

  constructor(type: string, init: CustomEventInit = {}) {
    super(type, init)
    this.detail = init.detail ?? null
  }
}

type Listener = ((event: Event) => void) | { handleEvent(event: Event): void }

interface Registration {
  readonly listener: Listener
  readonly once: boolean
}

export class EventTarget {
  #listeners: Map<string, Registration[]> | undefined

  addEventListener(type: string, listener: Listener | null, options: boolean | AddEventListenerOptions = {}): void {
    if (listener === null || listener === undefined) return
    const { once = false, signal } = typeof options === 'object' ? options : {}
    if (signal?.aborted === true) return
    const all = (this.#listeners ??= new Map())
    const list: readonly Registration[] = all.get(type) ?? []
    if (list.some((one) => one.listener === listener)) return
    all.set(type, [...list, { listener, once }])
    signal?.addEventListener('abort', () => this.removeEventListener(type, listener))
  }

  removeEventListener(type: string, listener: Listener | null): void {
    const list = this.#listeners?.get(type)
    if (list !== undefined) this.#listeners!.set(type, list.filter((one) => one.listener !== listener))
  }

  dispatchEvent(event: Event): boolean {
    event.target = event.currentTarget = this
    const on = (this as unknown as Record<string, unknown>)[`on${event.type}`]
    if (typeof on === 'function') report(() => on.call(this, event))
    for (const { listener, once } of this.#listeners?.get(event.type) ?? []) {
      if (event.wasStopped) break
      if (once) this.removeEventListener(event.type, listener)
      report(() => (typeof listener === 'function' ? listener.call(this, event) : listener.handleEvent(event)))
    }
    event.currentTarget = null
    return !event.defaultPrevented
  }
}

/** A listener's error is nobody's who dispatches: it is one that nobody caught. */
function report(run: () => void): void {
  try {
    run()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
