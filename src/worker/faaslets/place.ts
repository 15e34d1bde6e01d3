/**
 * One instance's use of an attachment: the sandbox that the instance has, while the attachment outlives it.
 *
 * An instance that is ended because nothing wants it (scale to zero, keep-alive) leaves its attachment behind: a connection, the
 * compiled module and open files, some hundred kilobytes, and no memory of a faaslet. The next instance takes it up without a round
 * trip. Everything else that ends an instance ends the attachment with it.
 *
 * Invariants:
 *   P1. An attachment has one place at a time.
 *   P2. `exited` resolves once: when the place is parked, or when the attachment is gone.
 */
import type { Duplex, Readable } from 'node:stream'
import type { Sandbox, SandboxExit, SandboxUsage } from '../sandbox/sandbox.ts'
import type { Attachment } from './attachment.ts'

export class Place implements Sandbox {
  readonly attachment: Attachment
  readonly exited: Promise<SandboxExit>
  readonly #parked = Promise.withResolvers<SandboxExit>()
  readonly #park: () => boolean
  #state: 'used' | 'parked' = 'used'

  /** @param park Keeps the attachment for the next place; false when it has to end. */
  constructor(attachment: Attachment, park: () => boolean) {
    this.attachment = attachment
    this.#park = park
    this.exited = Promise.race([this.#parked.promise, attachment.exited])
  }

  get id(): string {
    return this.attachment.id
  }

  get channel(): Duplex {
    return this.attachment.channel
  }

  get stdout(): Readable {
    return this.attachment.stdout
  }

  get stderr(): Readable {
    return this.attachment.stderr
  }

  get codeDirectory(): string {
    return this.attachment.codeDirectory
  }

  get pid(): number {
    return this.attachment.pid
  }

  get memory(): Sandbox['memory'] {
    return this.attachment.memory
  }

  limit(): void {
    this.attachment.limit()
  }

  usage(): SandboxUsage {
    return this.attachment.usage()
  }

  detach(reason: string): boolean {
    if (this.#state === 'parked' || !this.#park()) return false
    this.#state = 'parked'
    this.#parked.resolve({ cause: 'destroyed', reason })
    return true
  }

  destroy(reason: string): Promise<SandboxExit> {
    return this.#state === 'parked' ? this.exited : this.attachment.destroy(reason)
  }
}
