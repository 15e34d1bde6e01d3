/**
 * crypto: random values from the host. `subtle` is there by name only: what it would do is refused with a sentence.
 *
 * Source: Web Cryptography API, section 10.
 */
import { HostOp } from '../ops.ts'
import { host, plain } from './host.ts'

const QUOTA_BYTES = 65_536
const floats = [Float32Array, Float64Array, DataView]

export const webCrypto = {
  getRandomValues<View extends ArrayBufferView>(view: View): View {
    if (!ArrayBuffer.isView(view) || floats.some((type) => view instanceof type)) throw new DOMException('The data argument must be an integer-type TypedArray', 'TypeMismatchError')
    if (view.byteLength > QUOTA_BYTES) throw new DOMException(`The requested length exceeds ${QUOTA_BYTES} bytes`, 'QuotaExceededError')
    host(HostOp.random, plain(view))
    return view
  },

  randomUUID(): string {
    const bytes = new Uint8Array(16)
    host(HostOp.random, bytes)
    bytes[6] = (bytes[6]! & 0x0f) | 0x40
    bytes[8] = (bytes[8]! & 0x3f) | 0x80
    const hex = bytes.toHex()
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  },

  subtle: Object.fromEntries(
    ['encrypt', 'decrypt', 'sign', 'verify', 'digest', 'generateKey', 'deriveKey', 'deriveBits', 'importKey', 'exportKey', 'wrapKey', 'unwrapKey'].map((name) => [
      name,
      () => Promise.reject(new DOMException(`crypto.subtle.${name} is not there in kind js: bundle a library that computes it, or deploy with kind node.`, 'NotSupportedError')),
    ]),
  ),
}
