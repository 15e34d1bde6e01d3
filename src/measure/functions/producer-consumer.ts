/**
 * A function of a chain: the first makes a payload, each passes it on to the next, and the timestamps of all come back.
 *
 * Source: STeLLAR's producer-consumer (thesis 3.4; src/setup/deployment/raw-code/functions/producer-consumer at 6e25342). Where we differ: the original's consumer asks
 * whether its empty message has a payload before it loads the object, and so never loads it; its Lambda port even loses the key on the way. Here the consumer
 * reads all bytes of what it was sent, however it was sent, and its timestamp is taken after that.
 *
 *   F1. The first function is the one without TimestampChain. Its timestamp is taken when the payload is ready to be sent; the others', when it was received.
 *   F2. Every function has had all of the payload, PayloadLengthBytes long; otherwise it throws.
 *   F3. An object in a bucket is not written again before the chain that reads it has ended; there are as many as are under way at once.
 */
import { spin } from './busy.ts'
import { listOf, numberOf } from './work.ts'
import type { Fields, Links, Work } from './work.ts'

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'

export const work: Work = async (fields, links) => {
  const bytes = numberOf(fields, 'PayloadLengthBytes')
  const isFirst = fields['TimestampChain'] === undefined
  const payload = isFirst ? randomText(bytes, passesReference(fields) ? links.allocate : undefined) : await received(fields, links)
  if (payload.length !== bytes) throw new Error(`PayloadLengthBytes: ${bytes} were to come, and ${payload.length} came`)
  const receivedAt = await links.now()
  spin(fields)
  const timestamps = [...listOf(fields['TimestampChain']), String(isFirst ? await links.now() : receivedAt)]
  const [next, ...rest] = listOf(fields['DataTransferChainIDs'])
  if (next === undefined) return { RequestID: links.requestId, TimestampChain: timestamps }
  const { TransferPayload: _payload, Key: _key, Reference: _reference, DataTransferChainIDs: _ids, ...kept } = fields
  const message = { ...kept, DataTransferChainIDs: `[${rest.join(' ')}]`, TimestampChain: `[${timestamps.join(' ')}]` }
  const { TimestampChain } = await passOn(next, message, payload, links)
  return { RequestID: links.requestId, TimestampChain }
}

function usesStorage(fields: Fields): boolean {
  return String(fields['StorageTransfer']) === 'true'
}

function passesReference(fields: Fields): boolean {
  return String(fields['ReferenceTransfer']) === 'true'
}

async function received(fields: Fields, links: Links): Promise<Uint8Array> {
  const text = fields['TransferPayload']
  if (typeof text === 'string') return new TextEncoder().encode(text)
  const bytes = usesStorage(fields)
    ? await has(links, 'get')(String(fields['Bucket']), String(fields['Key']))
    : await has(links, 'getReference')(String(fields['Reference']))
  // Looks for a byte that is not there: all of it has been read then, also where memory was only mapped.
  if (bytes.includes(0)) throw new Error('the payload is not the text that was sent')
  return bytes
}

async function passOn(next: string, message: Fields, payload: Uint8Array, links: Links) {
  const invoke = has(links, 'invoke')
  if (passesReference(message)) return invoke(next, { ...message, Reference: await has(links, 'putReference')(payload) })
  if (!usesStorage(message)) return invoke(next, { ...message, TransferPayload: new TextDecoder('latin1').decode(payload) })
  const slot = freeSlots.pop() ?? slots++
  const key = `${(owner ??= crypto.randomUUID())}/${slot}`
  await has(links, 'put')(String(message['Bucket']), key, payload)
  // After a failure somebody may read it still, so its slot is lost.
  const reply = await invoke(next, { ...message, Key: key })
  freeSlots.push(slot)
  return reply
}

/** F3. Of this instance. */
const freeSlots: number[] = []
let slots = 0
let owner: string | undefined

function has<Name extends keyof Links>(links: Links, name: Name): NonNullable<Links[Name]> {
  const link = links[name]
  if (link === undefined) throw new Error(`this platform's functions have no ${name}; choose another kind of transfer`)
  return link as NonNullable<Links[Name]>
}

/** Every letter by itself: a store that keeps equal bytes once must not find any. */
function randomText(bytes: number, allocate = (length: number): Uint8Array => new Uint8Array(length)): Uint8Array {
  const text = allocate(bytes)
  // 256 is no multiple of 62: the first eight letters are a quarter likelier, which no store or network minds.
  for (let at = 0; at < bytes; at += 65_536) crypto.getRandomValues(text.subarray(at, at + 65_536) as Uint8Array<ArrayBuffer>)
  for (let at = 0; at < bytes; at++) text[at] = letters[text[at]!]!
  return text
}

const letters = Uint8Array.from({ length: 256 }, (_, byte) => LETTERS.charCodeAt(byte % LETTERS.length))
