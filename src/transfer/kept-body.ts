/**
 * The bytes of one object, wherever they are: in a buffer of this process when they are few, in sealed memory, or in a file.
 *
 * Few bytes are kept without a descriptor, because a process has some thousands of those and there may be a hundred thousand objects; they get
 * one while somebody reads them. Moving to a file makes a second copy; who reads the first one goes on reading it.
 *
 * Invariants:
 *   B1. A copy's charge is released when the object has done with it and nobody reads it any more, and not before: memory in use is accounted for.
 *   B2. A move that fails changes nothing.
 */
import assert from 'node:assert/strict'
import { readSync } from 'node:fs'
import { HeldBody } from '#contract/held-body.ts'
import { AgeNode } from './age-list.ts'
import type { Charge, Ledger, Spillable } from './ledger.ts'
import type { Place } from './peers.ts'
import type { Room } from './room.ts'
import { copyBody } from './spill.ts'
import type { BodyMaker } from './spill.ts'

/** A body of at most so many bytes is kept in a buffer: with that, 100,000 of them have some 1.6 GB at most and no descriptor. */
export const PACKED_BYTES_MAX = 16 * 1024

/** Where bodies may be; at least one of the two. */
export interface Places {
  /** Absent where memory cannot be sealed. */
  readonly memory: BodyMaker | undefined
  /** Absent where no disk may be used. */
  readonly files: BodyMaker | undefined
}

/** A body while somebody reads it. */
export interface OpenedBody {
  readonly body: HeldBody
  readonly place: Place
  /** Once. */
  close(): void
}

interface Copy {
  readonly content: Buffer | HeldBody
  readonly charge: Charge
  readers: number
  /** Of packed bytes, while somebody reads them. */
  opened: HeldBody | undefined
  /** The object needs it no more. */
  left: boolean
}

export class KeptBody implements Spillable {
  readonly bytes: number
  readonly #room: Room
  readonly #places: Places
  #copy: Copy
  #state: 'kept' | 'moving' | 'dropped' = 'kept'
  readonly #nodes: readonly [AgeNode<Spillable>, AgeNode<Spillable>] | undefined

  /** Takes over the charge, and this holder of a body. */
  constructor(content: Buffer | HeldBody, charge: Charge, room: Room, places: Places) {
    this.bytes = content instanceof HeldBody ? content.bytes : content.length
    this.#room = room
    this.#places = places
    this.#copy = { content, charge, readers: 0, opened: undefined, left: false }
    if (content instanceof HeldBody && charge.place === 'memory' && places.files !== undefined) {
      this.#nodes = [new AgeNode<Spillable>(this), new AgeNode<Spillable>(this)]
      this.#list(room.ledger)
      // Somebody may wait for memory, and this can be moved.
      room.changed()
    }
  }

  get charge(): Charge {
    return this.#copy.charge
  }

  get place(): Place {
    return this.#copy.charge.place
  }

  /** All of it, where it is in a buffer: to be read, and not to be kept. */
  get packed(): Buffer | undefined {
    const { content } = this.#copy
    return content instanceof HeldBody ? undefined : content
  }

  get isIdle(): boolean {
    return this.#state === 'kept' && this.#copy.readers === 0
  }

  open(): OpenedBody {
    assert(this.#state !== 'dropped', 'a body that was dropped is opened')
    const copy = this.#copy
    const body = copy.content instanceof HeldBody ? copy.content : (copy.opened ??= this.#unpack(copy.content))
    const place = copy.content instanceof HeldBody ? copy.charge.place : (this.#places.memory ?? this.#places.files!).place
    copy.readers++
    return {
      body,
      place,
      close: () => {
        assert(copy.readers > 0, 'a body is closed more often than opened')
        if (--copy.readers > 0) return
        copy.opened?.release()
        copy.opened = undefined
        if (copy.left) this.#free(copy)
        // An idle body can be moved, for somebody who waits.
        else this.#room.changed()
      },
    }
  }

  /** The object is gone. Once. */
  drop(): void {
    assert(this.#state !== 'dropped', 'a body is dropped twice')
    this.#unlist()
    this.#state = 'dropped'
    this.#leave(this.#copy)
  }

  /** @param charge For the same bytes in a file. It is taken over, also when this fails. @throws STORE_FULL, STORE_FAILED. */
  async spill(charge: Charge): Promise<void> {
    const { content } = this.#copy
    if (this.#state !== 'kept' || !(content instanceof HeldBody)) return this.#room.refund(charge)
    this.#unlist()
    this.#state = 'moving'
    let copy: HeldBody
    try {
      copy = (await copyBody(content, this.#places.files!)).finish()
    } catch (error) {
      this.#room.refund(charge)
      if (this.#isMoving) {
        this.#state = 'kept'
        this.#list(this.#room.ledger)
      }
      throw error
    }
    if (!this.#isMoving) {
      copy.release()
      return this.#room.release(charge)
    }
    const former = this.#copy
    this.#copy = { content: copy, charge, readers: 0, opened: undefined, left: false }
    this.#state = 'kept'
    this.#leave(former)
  }

  /** It may have been dropped while it was being copied. */
  get #isMoving(): boolean {
    return this.#state === 'moving'
  }

  #leave(copy: Copy): void {
    copy.left = true
    if (copy.readers === 0) this.#free(copy)
  }

  #free(copy: Copy): void {
    if (copy.content instanceof HeldBody) copy.content.release()
    this.#room.release(copy.charge)
  }

  #unpack(bytes: Buffer): HeldBody {
    const body = (this.#places.memory ?? this.#places.files!).create()
    try {
      body.writeNow(bytes)
      return body.finish()
    } catch (error) {
      body.discard()
      throw error
    }
  }

  #list(ledger: Ledger): void {
    if (this.#nodes === undefined) return
    ledger.spillable.add(this.#nodes[0])
    this.#copy.charge.account.spillable.add(this.#nodes[1])
  }

  #unlist(): void {
    if (this.#nodes === undefined) return
    this.#room.ledger.spillable.remove(this.#nodes[0])
    this.#copy.charge.account.spillable.remove(this.#nodes[1])
  }
}

/** All bytes of a small body, in a buffer. The body is let go. */
export function pack(body: HeldBody): Buffer {
  try {
    const bytes = Buffer.allocUnsafeSlow(body.bytes)
    let offset = 0
    while (offset < bytes.length) {
      const count = readSync(body.fd, bytes, offset, bytes.length - offset, offset)
      if (count === 0) throw new Error(`a body of ${body.bytes} bytes ended at ${offset}`)
      offset += count
    }
    return bytes
  } finally {
    body.release()
  }
}
