/**
 * Who is a member of which group, for the bus inside one process.
 *
 * A connection in this process cannot fall silent by itself, so there are no beats: a member is lost when its
 * connection is severed, and reported after `lossMs`, as a missed beat would be.
 */
import type { Clock, Timer } from '#base/clock.ts'
import type { BusMember } from './bus.ts'

export interface MemberChange {
  readonly kind: 'joined' | 'updated' | 'gone'
  readonly member: BusMember
}

interface Entry {
  member: BusMember
  /** The connection that joined it last. */
  owner: symbol
  /** Running while it is missed. */
  loss: Timer | undefined
}

interface Group {
  /** In the order of joining. */
  readonly entries: Map<string, Entry>
  readonly watchers: Set<Watcher>
}

interface Watcher {
  readonly listener: (change: MemberChange) => void
  active: boolean
}

export class LocalMembers {
  readonly #clock: Clock
  readonly #lossMs: number
  readonly #later: (delivery: () => void) => void
  readonly #groups = new Map<string, Group>()

  constructor(parts: { readonly clock: Clock; readonly lossMs: number; readonly later: (delivery: () => void) => void }) {
    this.#clock = parts.clock
    this.#lossMs = parts.lossMs
    this.#later = parts.later
  }

  join(groupName: string, member: BusMember, owner: symbol): () => void {
    const group = this.#group(groupName)
    const entry = group.entries.get(member.id)
    if (entry === undefined) group.entries.set(member.id, { member, owner, loss: undefined })
    else {
      entry.loss?.cancel()
      Object.assign(entry, { member, owner, loss: undefined })
    }
    this.#tell(group, { kind: entry === undefined ? 'joined' : 'updated', member })
    return () => {
      if (group.entries.get(member.id)?.owner === owner) this.#remove(group, member.id)
    }
  }

  of(groupName: string): BusMember[] {
    return [...(this.#groups.get(groupName)?.entries.values() ?? [])].map((entry) => entry.member)
  }

  watch(groupName: string, listener: (change: MemberChange) => void): () => void {
    const { watchers } = this.#group(groupName)
    const watcher = { listener, active: true }
    watchers.add(watcher)
    return () => {
      watcher.active = false
      watchers.delete(watcher)
    }
  }

  leaveAll(owner: symbol): void {
    this.#ofOwner(owner, (group, id) => this.#remove(group, id))
  }

  loseAll(owner: symbol): void {
    this.#ofOwner(owner, (group, id, entry) => {
      entry.loss = this.#clock.after(this.#lossMs, () => this.#remove(group, id))
    })
  }

  #ofOwner(owner: symbol, act: (group: Group, id: string, entry: Entry) => void): void {
    for (const group of this.#groups.values()) {
      for (const [id, entry] of [...group.entries]) if (entry.owner === owner) act(group, id, entry)
    }
  }

  #remove(group: Group, id: string): void {
    const entry = group.entries.get(id)
    if (entry === undefined) return
    group.entries.delete(id)
    this.#tell(group, { kind: 'gone', member: entry.member })
  }

  #tell(group: Group, change: MemberChange): void {
    for (const watcher of group.watchers) {
      this.#later(() => {
        if (watcher.active) watcher.listener(change)
      })
    }
  }

  #group(name: string): Group {
    let group = this.#groups.get(name)
    if (group === undefined) {
      group = { entries: new Map(), watchers: new Set() }
      this.#groups.set(name, group)
    }
    return group
  }
}
