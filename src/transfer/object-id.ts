/**
 * What an object is called on its worker: which life of the worker, which slot of its table, and when the object expires.
 *
 *   9f86d081884c7d65-2f-1c-mj3k9x0e      life (random) - slot - how often the slot was used - end of life (epoch ms); the numbers in base 36
 *
 * The end of life is part of it, so that a table needs to remember nothing about objects that are gone: of this life of the worker, one has expired
 * if its time is over, and was used up otherwise; of another life, it has expired or is lost.
 */

export interface ObjectId {
  readonly life: string
  readonly slot: number
  readonly use: number
  readonly expiresAtMs: number
}

export function formatObjectId({ life, slot, use, expiresAtMs }: ObjectId): string {
  return `${life}-${slot.toString(36)}-${use.toString(36)}-${expiresAtMs.toString(36)}`
}

/** @returns Undefined for what no worker ever wrote. */
export function parseObjectId(text: string): ObjectId | undefined {
  const match = /^([0-9a-f]{16})-([0-9a-z]{1,10})-([0-9a-z]{1,10})-([0-9a-z]{1,10})$/.exec(text)
  if (match === null) return undefined
  return { life: match[1]!, slot: Number.parseInt(match[2]!, 36), use: Number.parseInt(match[3]!, 36), expiresAtMs: Number.parseInt(match[4]!, 36) }
}
