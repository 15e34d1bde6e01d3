/**
 * A faaslet's memory, as its imports read and write it: every access is checked, because every address is the guest's.
 *
 * Addresses come as signed 32-bit numbers and are unsigned here. The view is made anew when the memory has grown, which
 * detaches the old one; a view is never kept over a wait.
 */

/** An address or length that reaches beyond the memory. */
export class MemoryFault extends Error {}

const decoder = new TextDecoder()

export class GuestMemory {
  readonly #memory: WebAssembly.Memory
  #view: DataView
  #buffer: Buffer

  constructor(memory: WebAssembly.Memory) {
    this.#memory = memory
    this.#view = new DataView(memory.buffer)
    this.#buffer = Buffer.from(memory.buffer)
  }

  get byteLength(): number {
    return this.#memory.buffer.byteLength
  }

  /** A view of the guest's bytes: valid until its code runs on. @throws MemoryFault */
  bytes(address: number, length: number): Buffer {
    const from = address >>> 0
    const to = from + (length >>> 0)
    const buffer = this.#current()
    if (to > buffer.length) throw new MemoryFault()
    return buffer.subarray(from, to)
  }

  /** A copy. @throws MemoryFault */
  copy(address: number, length: number): Buffer {
    return Buffer.from(this.bytes(address, length))
  }

  /** UTF-8; what is not, becomes U+FFFD. @throws MemoryFault */
  text(address: number, length: number): string {
    return decoder.decode(this.bytes(address, length))
  }

  /** @throws MemoryFault */
  setU8(address: number, value: number): void {
    this.bytes(address, 1)[0] = value
  }

  /** @throws MemoryFault */
  setU16(address: number, value: number): void {
    this.#checked(address, 2).setUint16(address >>> 0, value, true)
  }

  /** @throws MemoryFault */
  u16(address: number): number {
    return this.#checked(address, 2).getUint16(address >>> 0, true)
  }

  /** @throws MemoryFault */
  setU32(address: number, value: number): void {
    this.#checked(address, 4).setUint32(address >>> 0, value, true)
  }

  /** @throws MemoryFault */
  u32(address: number): number {
    return this.#checked(address, 4).getUint32(address >>> 0, true)
  }

  /** @throws MemoryFault */
  setU64(address: number, value: bigint): void {
    this.#checked(address, 8).setBigUint64(address >>> 0, value, true)
  }

  /** @throws MemoryFault */
  u64(address: number): bigint {
    return this.#checked(address, 8).getBigUint64(address >>> 0, true)
  }

  #checked(address: number, length: number): DataView {
    const buffer = this.#current()
    if ((address >>> 0) + length > buffer.length) throw new MemoryFault()
    return this.#view
  }

  #current(): Buffer {
    // A grown memory has a new buffer, and the old one is detached: its length is 0, and every memory that was used has more.
    if (this.#buffer.length === 0 || this.#buffer.buffer !== this.#memory.buffer) {
      this.#view = new DataView(this.#memory.buffer)
      this.#buffer = Buffer.from(this.#memory.buffer)
    }
    return this.#buffer
  }
}
