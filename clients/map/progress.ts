/** One line on a terminal that tells how far a map is; nothing where standard error is no terminal. */
export interface Progress {
  readonly what: string
  readonly total: number
  readonly done: number
  readonly failed: number
  readonly running: number
  readonly elapsedMs: number
}

export function progressLine({ what, total, done, failed, running, elapsedMs }: Progress): string {
  const parts = [`${what} ${done}/${total}`]
  if (running > 0) parts.push(`${running} running`)
  if (failed > 0) parts.push(`${failed} failed`)
  parts.push(`${(elapsedMs / 1000).toFixed(1)} s`)
  return parts.join(', ')
}

/** How often it is told: counting what runs takes time, too. */
export const PROGRESS_EVERY_MS = 100

/** @param stream A terminal. */
export function drawOn(stream: NodeJS.WriteStream): (progress: Progress) => void {
  return (progress) => stream.write(`\r\x1b[2K${progressLine(progress)}${progress.done === progress.total ? '\n' : ''}`)
}
