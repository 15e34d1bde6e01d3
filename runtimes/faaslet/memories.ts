/**
 * The linear memories of one revision in this host: made once, restored again and again.
 *
 * A new WebAssembly.Memory reserves 10 GB of addresses and asks the collector to count its size, which a process can do some
 * thousand times before a collection stops everything; restoring one that is there is one system call. What a memory
 * held is gone before it serves again (pager T1), so that reuse is not sharing.
 *
 * An idle memory also gets its next instance, in a turn of the event loop after the answer: making one takes longer than restoring a small working set.
 *
 * Invariants:
 *   M1. A memory is in use by one faaslet, or idle, or dropped: never two at once.
 *   M2. One that has grown is dropped: it cannot shrink to the size that the next one starts with.
 *   M3. An idle memory holds no page of its own: giving back happens at once, after the answer.
 *   M4. An instance is handed out once.
 */
import type { Faaslet } from './guest.ts'
import { adoptMemory } from '../../src/pager/restore.ts'
import type { PagedImage, PagedMemory } from '../../src/pager/restore.ts'
import { MappedMemory } from '../../src/pager/restore-native.ts'

export interface HeldMemory {
  readonly memory: WebAssembly.Memory
  readonly paged: PagedMemory
  /** Made ahead, and never used; taken out by who uses it (M4). */
  instance?: Faaslet | undefined
}

/** Idle ones that are kept: each is 10 GB of addresses, of which a process has 128 TB. */
const IDLE_MAX = 64

export class Memories {
  readonly #pages: { readonly initial: number; readonly maximum: number }
  readonly #instantiate: (memory: WebAssembly.Memory) => Faaslet
  readonly #idle: HeldMemory[] = []

  /** @param pages Of 64 KB: what the snapshot has, and the function's limit. */
  constructor(pages: { readonly initial: number; readonly maximum: number }, instantiate: (memory: WebAssembly.Memory) => Faaslet) {
    this.#pages = pages
    this.#instantiate = instantiate
  }

  /** @throws RangeError when the process has no addresses left. */
  take(): HeldMemory {
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    return holdMemory(new WebAssembly.Memory(this.#pages))
  }

  /** @param image What it was restored from, if it is to be restored from that again. */
  give(held: HeldMemory, image: PagedImage | undefined): void {
    const { memory, paged } = held
    const isAsMade = memory.buffer.byteLength === this.#pages.initial * 65_536
    if (isAsMade && this.#idle.length < IDLE_MAX && paged instanceof MappedMemory) {
      paged.release(image)
      this.#idle.push(held)
      setImmediate(() => {
        // In use again, or dropped, or with one already.
        if (held.instance === undefined && this.#idle.includes(held)) held.instance = this.#instantiate(memory)
      })
    } else drop(held)
  }

  close(): void {
    for (const held of this.#idle.splice(0)) drop(held)
  }
}

/** A memory that is to be dropped when it was used. */
export function holdMemory(memory: WebAssembly.Memory): HeldMemory {
  return { memory, paged: adoptMemory(memory) }
}

/** Its pages go at once, also those that it has grown by and what was mapped over them; its addresses when the collector finds it. */
export function drop({ paged }: HeldMemory): void {
  if (paged instanceof MappedMemory) paged.empty()
  paged[Symbol.dispose]()
}
