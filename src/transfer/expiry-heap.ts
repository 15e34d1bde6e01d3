/**
 * What ends at which time, so that one timer serves all: a binary heap whose items know their place, because most of them leave before their time.
 *
 * With one time to live for all, as is usual, an item is added at its place (nothing moves) and taken out in O(log n).
 */

export interface Expiring {
  readonly expiresAtMs: number
  /** Its place; the heap's own. -1: in none. */
  heapIndex: number
}

export class ExpiryHeap<Item extends Expiring> {
  readonly #items: Item[] = []

  get first(): Item | undefined {
    return this.#items[0]
  }

  add(item: Item): void {
    this.#items.push(item)
    this.#up(item, this.#items.length - 1)
  }

  remove(item: Item): void {
    const index = item.heapIndex
    if (index < 0) return
    item.heapIndex = -1
    const last = this.#items.pop()!
    if (last === item) return
    if (index > 0 && last.expiresAtMs < this.#items[(index - 1) >>> 1]!.expiresAtMs) this.#up(last, index)
    else this.#down(last, index)
  }

  #up(item: Item, index: number): void {
    const items = this.#items
    while (index > 0) {
      const parentIndex = (index - 1) >>> 1
      const parent = items[parentIndex]!
      if (parent.expiresAtMs <= item.expiresAtMs) break
      items[index] = parent
      parent.heapIndex = index
      index = parentIndex
    }
    items[index] = item
    item.heapIndex = index
  }

  #down(item: Item, index: number): void {
    const items = this.#items
    for (;;) {
      let childIndex = 2 * index + 1
      if (childIndex >= items.length) break
      if (childIndex + 1 < items.length && items[childIndex + 1]!.expiresAtMs < items[childIndex]!.expiresAtMs) childIndex++
      const child = items[childIndex]!
      if (item.expiresAtMs <= child.expiresAtMs) break
      items[index] = child
      child.heapIndex = index
      index = childIndex
    }
    items[index] = item
    item.heapIndex = index
  }
}
