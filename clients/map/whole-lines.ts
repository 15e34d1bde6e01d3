/**
 * Which lines of an object are a part's: those that begin in its range of bytes. Pure.
 *
 * It is given the byte before the range, too, which tells whether a line begins exactly there, and reads on behind the range to the end of the last line.
 */
const LINE_END = 10

/** The lines that begin in [from, to), of bytes that begin at `from` - 1 (at 0, when `from` is 0). */
export async function* wholeLines(bytes: AsyncIterable<Uint8Array>, from: number, to: number): AsyncGenerator<Uint8Array> {
  let at = Math.max(0, from - 1)
  let begun = from === 0
  for await (const chunk of bytes) {
    let start = 0
    if (!begun) {
      const end = chunk.indexOf(LINE_END)
      if (end >= 0) {
        begun = true
        start = end + 1
        if (at + start >= to) return
      }
    }
    if (begun) {
      // A line end at or behind the last byte of the range is this part's last byte.
      const end = chunk.indexOf(LINE_END, Math.max(start, to - 1 - at))
      if (end >= 0) return void (yield chunk.subarray(start, end + 1))
      if (start < chunk.length) yield chunk.subarray(start)
    }
    at += chunk.length
  }
}
