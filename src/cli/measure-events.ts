/** What is said while something is measured: on a terminal one line that changes, otherwise a line every ten seconds. */
import type { RunEvents } from '#measure/run.ts'
import type { Context } from './context.ts'

const LINE_EVERY_MS = 10_000
const ERASE_LINE = '\r\u001b[K'

export interface MeasureEvents extends RunEvents {
  /** The line that changes is over. */
  done(): void
}

export function measureEvents(context: Context): MeasureEvents {
  let toldMs = performance.now()
  const clear = (): void => {
    if (context.terminal) process.stderr.write(ERASE_LINE)
  }
  return {
    say(line) {
      clear()
      context.note(line)
    },
    warn(line) {
      clear()
      context.warn(line)
    },
    progress(line) {
      if (context.terminal) {
        process.stderr.write(`${ERASE_LINE}${line.slice(0, (process.stderr.columns || 80) - 1)}`)
        return
      }
      const nowMs = performance.now()
      if (nowMs - toldMs < LINE_EVERY_MS) return
      toldMs = nowMs
      context.note(line)
    },
    done: clear,
  }
}
