/**
 * How an object gets from the function that made it to the one that needs it. This is the one file in which the variants of a workload differ.
 *
 *   inline   the bytes are part of the invocation: they go wherever its control goes, also through functions that only pass them on
 *   xdt      put and get of the SDK: the object stays with its producer, and the consumer maps it
 *   s3       an S3 endpoint, over HTTP
 *   redis    a Redis server, over TCP
 */
import { allocate, get, put } from 'skep'
import type { Handle } from './message.ts'
import { isStorageName, storageNamed, storageNames } from './storage.ts'
import type { StorageName } from './storage.ts'

export const transportNames = ['inline', 'xdt', ...storageNames] as const
export type TransportName = (typeof transportNames)[number]

export interface Transport {
  /** Memory for an object that will be put: filled where it is, it need not be copied. */
  allocate(bytes: number): Buffer
  /** @param retrievals How often it will be got. */
  put(object: Uint8Array, retrievals: number): Promise<Handle>
  get(handle: Handle): Promise<Uint8Array>
}

export function isTransportName(name: unknown): name is TransportName {
  return transportNames.includes(name as TransportName)
}

export function transportNamed(name: TransportName): Transport {
  return isStorageName(name) ? throughStorage(name) : name === 'xdt' ? direct : inline
}

const inline: Transport = {
  allocate: (bytes) => Buffer.allocUnsafe(bytes),
  put: (object) => Promise.resolve(object),
  get: (handle) => (typeof handle === 'string' ? Promise.reject(new TypeError('An object that travels inline is no text.')) : Promise.resolve(handle)),
}

const direct: Transport = {
  allocate: (bytes) => allocate(bytes),
  put: (object, retrievals) => put(object, { retrievals }),
  get: (handle) => get(textOf(handle)),
}

function throughStorage(name: StorageName): Transport {
  return {
    allocate: inline.allocate,
    async put(object) {
      const key = `transfers/${crypto.randomUUID()}`
      await storageNamed(name).put(key, object)
      return key
    },
    get: (handle) => storageNamed(name).get(textOf(handle)),
  }
}

function textOf(handle: Handle): string {
  if (typeof handle !== 'string') throw new TypeError('This object came inline, and another transport was asked for it.')
  return handle
}
