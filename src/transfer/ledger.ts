/**
 * Who keeps how many bytes, in memory and in files, and what becomes of a put: accept, spill, wait or refuse. Arithmetic only: no clock, no disk.
 *
 * The thesis pauses a producer when no buffer is free (6.4.3). Here memory comes first, then files, and only then does a producer wait; what can
 * never fit is refused at once, because waiting for it would only be a slower refusal.
 *
 *   namespace: memory + files ≤ namespaceBytesMax        worker: memory ≤ memoryBytesMax, files ≤ fileBytesMax
 *   instance (while it lives): memory ≤ its share        worker: bodies and descriptors are bounded too
 *
 * Invariants:
 *   L1. Sums are exact: whatever was charged is released once, and when nothing is kept every sum is 0.
 *   L2. `decide` accepts only what keeps every bound. (`hold` of Transfers charges without asking for memory: what travels by value is there already.)
 *   L3. `decide` gives `wait` only for what fits when everything else is let go; otherwise `refuse`.
 */
import assert from 'node:assert/strict'
import { AgeList } from './age-list.ts'
import type { Place } from './peers.ts'

export interface LedgerLimits {
  readonly memoryBytesMax: number
  readonly fileBytesMax: number
  readonly bodiesMax: number
  readonly descriptorsMax: number
  readonly namespaceBytesMax: (namespace: string) => number
}

/** Of one instance; or of a namespace alone, for bodies that belong to no living instance. */
export interface Account {
  readonly namespace: NamespaceAccount
  /** What it may have in memory. Without bound when the instance has ended. */
  memoryBytesMax: number
  memoryBytes: number
  /** Its bodies in memory that could go to a file. */
  readonly spillable: AgeList<Spillable>
}

interface NamespaceAccount {
  readonly name: string
  memoryBytes: number
  fileBytes: number
}

/** Bytes of one body that are accounted for. It is the ledger's: others only read it. */
export interface Charge {
  readonly account: Account
  place: Place
  bytes: number
  /** 0 when its bytes are in a buffer of this process. */
  readonly descriptors: 0 | 1
}

/** A body whose bytes may go from memory to a file. */
export interface Spillable {
  readonly charge: Charge
  /** Nobody reads it now: moving it gives its memory back. */
  readonly isIdle: boolean
  /** @param charge For the same bytes in a file. It is taken over, also when this fails. @throws STORE_FULL, STORE_FAILED: then it is where it was. */
  spill(charge: Charge): Promise<void>
}

export interface Ask {
  readonly account: Account
  /** More bytes. */
  readonly bytes: number
  /** What the same body has been charged for so far; it moves along to a file. */
  readonly own: Charge | undefined
  readonly descriptors: 0 | 1
  /** Where it should be, if there is room; `file only` where memory for it cannot be made. */
  readonly preferred: Place | 'file only'
}

export interface Shortage {
  readonly of: 'namespace' | 'instance' | 'memory' | 'files' | 'disk' | 'bodies' | 'descriptors'
  readonly used: number
  readonly max: number
}

export type Decision =
  | { readonly do: 'accept'; readonly place: Place }
  /** Then decide again. */
  | { readonly do: 'spill'; readonly bodies: readonly Spillable[] }
  | { readonly do: 'wait'; readonly shortage: Shortage }
  | { readonly do: 'refuse'; readonly shortage: Shortage }

export class Ledger {
  readonly limits: LedgerLimits
  /** Bodies in memory that could go to a file, of all accounts. */
  readonly spillable = new AgeList<Spillable>()
  /** The disk said that it is full, whatever the bound: nothing more goes there. Whoever found out sets it, and takes it back after a while. */
  diskIsFull = false
  readonly #namespaces = new Map<string, NamespaceAccount>()
  readonly #instances = new Map<string, Account>()
  #memoryBytes = 0
  #fileBytes = 0
  #bodies = 0
  #descriptors = 0

  constructor(limits: LedgerLimits) {
    this.limits = limits
  }

  get memoryBytes(): number {
    return this.#memoryBytes
  }

  get fileBytes(): number {
    return this.#fileBytes
  }

  get bodies(): number {
    return this.#bodies
  }

  get descriptors(): number {
    return this.#descriptors
  }

  get instances(): number {
    return this.#instances.size
  }

  namespaces(): Iterable<Readonly<NamespaceAccount>> {
    return this.#namespaces.values()
  }

  namespaceAccount(namespace: string): Account {
    return { namespace: this.#namespace(namespace), memoryBytesMax: Infinity, memoryBytes: 0, spillable: new AgeList() }
  }

  /** It is remembered until `instanceEnded`; an instance that has ended asks for nothing more. */
  instanceAccount(namespace: string, instance: string, memoryBytesMax: number): Account {
    let account = this.#instances.get(instance)
    if (account === undefined) this.#instances.set(instance, (account = { namespace: this.#namespace(namespace), memoryBytesMax, memoryBytes: 0, spillable: new AgeList() }))
    return account
  }

  /** What it has made stays, and is from now on its namespace's alone. */
  instanceEnded(instance: string): void {
    const account = this.#instances.get(instance)
    if (account === undefined) return
    account.memoryBytesMax = Infinity
    this.#instances.delete(instance)
  }

  charge(account: Account, place: Place, bytes: number, descriptors: 0 | 1): Charge {
    this.#bodies++
    this.#descriptors += descriptors
    const charge = { account, place, bytes: 0, descriptors }
    this.resize(charge, bytes)
    return charge
  }

  resize(charge: Charge, bytes: number): void {
    this.#add(charge.account, charge.place, bytes - charge.bytes)
    charge.bytes = bytes
  }

  move(charge: Charge, place: Place): void {
    this.#add(charge.account, charge.place, -charge.bytes)
    charge.place = place
    this.#add(charge.account, place, charge.bytes)
  }

  release(charge: Charge): void {
    this.resize(charge, 0)
    this.#bodies--
    this.#descriptors -= charge.descriptors
    assert(this.#bodies >= 0 && this.#descriptors >= 0, 'more bodies are released than were charged')
  }

  decide(ask: Ask): Decision {
    const { account, own, bytes } = ask
    const { limits } = this
    const total = (own?.bytes ?? 0) + bytes
    const { namespace } = account
    const namespaceMax = limits.namespaceBytesMax(namespace.name)
    const fitsMemory = ask.preferred !== 'file only' && total <= limits.memoryBytesMax && total <= account.memoryBytesMax
    const fitsFile = total <= limits.fileBytesMax && ask.descriptors === 1
    if (total > namespaceMax) return { do: 'refuse', shortage: { of: 'namespace', used: 0, max: namespaceMax } }
    if (!fitsMemory && !fitsFile) {
      const memoryMax = ask.preferred === 'file only' ? 0 : Math.min(limits.memoryBytesMax, account.memoryBytesMax)
      if (limits.fileBytesMax >= memoryMax) return { do: 'refuse', shortage: { of: 'files', used: 0, max: limits.fileBytesMax } }
      return { do: 'refuse', shortage: { of: memoryMax === account.memoryBytesMax ? 'instance' : 'memory', used: 0, max: memoryMax } }
    }
    const namespaceBytes = namespace.memoryBytes + namespace.fileBytes
    if (namespaceBytes + bytes > namespaceMax) return { do: 'wait', shortage: { of: 'namespace', used: namespaceBytes, max: namespaceMax } }
    if (own === undefined) {
      if (this.#bodies >= limits.bodiesMax) return { do: 'wait', shortage: { of: 'bodies', used: this.#bodies, max: limits.bodiesMax } }
      if (this.#descriptors + ask.descriptors > limits.descriptorsMax) return { do: 'wait', shortage: { of: 'descriptors', used: this.#descriptors, max: limits.descriptorsMax } }
    }

    // What is in a file stays there.
    const fileLacking = this.#fileBytes + (own?.place === 'file' ? bytes : total) - limits.fileBytesMax
    const fileHasRoom = fileLacking <= 0 && !this.diskIsFull && ask.descriptors === 1
    if (own?.place === 'file') return fileHasRoom ? { do: 'accept', place: 'file' } : { do: 'wait', shortage: this.#fileShortage() }
    if (ask.preferred !== 'memory' && fileHasRoom) return { do: 'accept', place: 'file' }
    const lacking = Math.max(0, this.#memoryBytes + bytes - limits.memoryBytesMax)
    const lackingOfInstance = Math.max(0, account.memoryBytes + bytes - account.memoryBytesMax)
    if (fitsMemory) {
      if (lacking === 0 && lackingOfInstance === 0) return { do: 'accept', place: 'memory' }
      const bodies = this.#choose(lacking, lackingOfInstance, account)
      if (bodies !== undefined) return { do: 'spill', bodies }
    }
    if (fileHasRoom) return { do: 'accept', place: 'file' }
    if (!fitsMemory || this.diskIsFull) return { do: 'wait', shortage: this.#fileShortage() }
    if (lackingOfInstance > 0) return { do: 'wait', shortage: { of: 'instance', used: account.memoryBytes, max: account.memoryBytesMax } }
    return { do: 'wait', shortage: { of: 'memory', used: this.#memoryBytes, max: limits.memoryBytesMax } }
  }

  /** The oldest ones that give back what is lacking; undefined when they do not, or there is no room for them in files. */
  #choose(lacking: number, lackingOfInstance: number, account: Account): Spillable[] | undefined {
    if (this.diskIsFull) return undefined
    const chosen = new Set<Spillable>()
    let roomBytes = this.limits.fileBytesMax - this.#fileBytes
    const takeUpTo = (bytes: number, from: Iterable<Spillable>): number => {
      let taken = 0
      for (const body of from) {
        if (taken >= bytes) break
        if (!body.isIdle || chosen.has(body) || body.charge.bytes > roomBytes) continue
        chosen.add(body)
        roomBytes -= body.charge.bytes
        taken += body.charge.bytes
      }
      return taken
    }
    const takenOfInstance = takeUpTo(lackingOfInstance, account.spillable)
    if (takenOfInstance < lackingOfInstance) return undefined
    return takenOfInstance + takeUpTo(lacking - takenOfInstance, this.spillable) < lacking ? undefined : [...chosen]
  }

  #fileShortage(): Shortage {
    return { of: this.diskIsFull ? 'disk' : 'files', used: this.#fileBytes, max: this.limits.fileBytesMax }
  }

  #add(account: Account, place: Place, bytes: number): void {
    const { namespace } = account
    if (place === 'memory') {
      this.#memoryBytes += bytes
      account.memoryBytes += bytes
      namespace.memoryBytes += bytes
    } else {
      this.#fileBytes += bytes
      namespace.fileBytes += bytes
    }
    assert(this.#memoryBytes >= 0 && this.#fileBytes >= 0 && account.memoryBytes >= 0 && namespace.memoryBytes >= 0 && namespace.fileBytes >= 0, 'more is released than was charged')
  }

  #namespace(name: string): NamespaceAccount {
    let namespace = this.#namespaces.get(name)
    if (namespace === undefined) this.#namespaces.set(name, (namespace = { name, memoryBytes: 0, fileBytes: 0 }))
    return namespace
  }
}
