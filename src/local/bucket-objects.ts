/**
 * Objects of buckets for functions: `put(object, { key: 's3://photos/bee.jpg' })` and `get('s3://photos/bee.jpg')`, without network and without credentials.
 *
 * The durable tier behind the API of references: such an object outlives its worker, is there for S3 clients too (docs/s3.md), and stays until it is
 * deleted. A function reaches the buckets of its own namespace and no other.
 */
import { createHash } from 'node:crypto'
import { PlatformError } from '#contract/errors.ts'
import type { Buckets } from '#registry/buckets/buckets.ts'
import type { Address } from '#registry/buckets/objects.ts'
import type { BucketObjects } from '#worker/object-transfers.ts'

/** S3's own bound. */
const KEY_BYTES_MAX = 1024

export function bucketObjects(buckets: Buckets): BucketObjects {
  return {
    check(namespace, name) {
      const { bucket } = addressOf(namespace, name)
      if (buckets.get(namespace, bucket) === undefined) throw noBucket(bucket)
    },

    async put(namespace, name, source, bytes) {
      const address = addressOf(namespace, name)
      const md5 = createHash('md5')
      async function* hashed(): AsyncGenerator<Uint8Array> {
        for await (const chunk of source) {
          md5.update(chunk)
          yield chunk
        }
      }
      await known(address, () => buckets.put(address, { source: hashed(), bytes, finish: () => ({ md5: md5.digest('hex') }) }, {}))
    },

    async get(namespace, name) {
      const address = addressOf(namespace, name)
      const entity = await known(address, () => buckets.head(address))
      if (entity === undefined) throw new PlatformError('ENTITY_NOT_FOUND', `Bucket ${address.bucket} has no object "${address.key}". Put it first, or check the key.`)
      return { bytes: entity.bytes, stream: buckets.contents.read(entity) }
    },
  }
}

/** @throws INPUT_INVALID. */
export function addressOf(namespace: string, name: string): Address {
  const match = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.+)$/s.exec(name)
  if (match === null || Buffer.byteLength(match[2]!) > KEY_BYTES_MAX || !match[2]!.isWellFormed()) {
    throw new PlatformError('INPUT_INVALID', `"${name.slice(0, 200)}" is no place in a bucket: write s3://<bucket>/<key>, with a key of at most ${KEY_BYTES_MAX} bytes.`)
  }
  return { namespace, bucket: match[1]!, key: match[2]! }
}

/** A bucket that is not there is told with what makes it. */
async function known<Value>({ bucket }: Address, act: () => Promise<Value>): Promise<Value> {
  try {
    return await act()
  } catch (thrown) {
    throw thrown instanceof PlatformError && thrown.code === 'ENTITY_NOT_FOUND' ? noBucket(bucket, thrown) : thrown
  }
}

function noBucket(bucket: string, cause?: unknown): PlatformError {
  return new PlatformError('ENTITY_NOT_FOUND', `There is no bucket ${bucket} in this namespace. Make it with an S3 client: aws s3 mb s3://${bucket}`, { cause })
}
