/** Things in the order in which they came, where any of them may leave: a doubly linked list, because a Set churns (decision 7). */

export class AgeNode<Item> {
  readonly item: Item
  list: AgeList<Item> | undefined = undefined
  older: AgeNode<Item> | undefined = undefined
  newer: AgeNode<Item> | undefined = undefined

  constructor(item: Item) {
    this.item = item
  }
}

export class AgeList<Item> implements Iterable<Item> {
  #oldest: AgeNode<Item> | undefined
  #newest: AgeNode<Item> | undefined

  /** As the newest. */
  add(node: AgeNode<Item>): void {
    node.list = this
    node.older = this.#newest
    node.newer = undefined
    if (this.#newest === undefined) this.#oldest = node
    else this.#newest.newer = node
    this.#newest = node
  }

  /** Nothing happens when it is in no list. */
  remove(node: AgeNode<Item>): void {
    if (node.list !== this) return
    node.list = undefined
    if (node.older === undefined) this.#oldest = node.newer
    else node.older.newer = node.newer
    if (node.newer === undefined) this.#newest = node.older
    else node.newer.older = node.older
    node.older = node.newer = undefined
  }

  /** Oldest first. The list must not change on the way. */
  *[Symbol.iterator](): Iterator<Item> {
    for (let node = this.#oldest; node !== undefined; node = node.newer) yield node.item
  }
}
