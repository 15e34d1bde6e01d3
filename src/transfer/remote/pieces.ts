/**
 * The buffers that bytes from peers come in, to be used again by consumers that say when they are through with one.
 *
 * A stream's consumer may keep what it gets, so each piece is memory of its own; for a hundred megabytes that is 1,600 buffers, and marking the heap for their sake
 * takes a third of the receiver's processor time (measured). A consumer that has written a piece somewhere, and has not kept it, says
 * `recycle`, and the piece is filled again. Whoever does not know of this loses nothing but time.
 *
 * Invariants:
 *   Q1. A piece is free, or with one consumer: giving back what is free, twice, a part of one, or anybody else's buffer does nothing.
 */
export const PIECE_BYTES = 64 * 1024
/** As much as a few streams have under way. */
const FREE_MAX = 64

const free: Buffer[] = []
/** The memory of pieces that consumers have. */
const out = new WeakSet<ArrayBufferLike>()

/** {@link PIECE_BYTES} of memory with whatever was in it. */
export function takePiece(): Buffer {
  const piece = free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES)
  out.add(piece.buffer)
  return piece
}

/** The caller, who was given this by a stream, has no more use for it, and will not look at it again. */
export function recycle(piece: Buffer): void {
  if (piece.length === PIECE_BYTES && out.delete(piece.buffer) && free.length < FREE_MAX) free.push(piece)
}
