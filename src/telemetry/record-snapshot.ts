/**
 * The figures of a snapshot start in the numbers of a record (record-codec.ts): most records have none, and then they take no byte.
 *
 *   mode + 1, or 0 │ restoreUs │ which figures follow: bit n for the n-th name │ those figures
 *
 * Names and modes are numbered by their lists in contract/start-figures.ts, which only grow at their ends.
 */
import { restoreModes, snapshotFigureNames } from '#contract/start-figures.ts'
import type { SnapshotFigures } from '#contract/start-figures.ts'
import type { NumberReader, NumberWriter } from './record-numbers.ts'

/** How many numbers it is at most. */
export const SNAPSHOT_NUMBERS_MAX = 3 + snapshotFigureNames.length

export function addSnapshot(numbers: NumberWriter, snapshot: SnapshotFigures): void {
  numbers.add(snapshot.mode === undefined ? 0 : restoreModes.indexOf(snapshot.mode) + 1)
  numbers.add(snapshot.restoreUs)
  let present = 0
  for (let index = 0; index < snapshotFigureNames.length; index++) if (snapshot[snapshotFigureNames[index]!] !== undefined) present |= 1 << index
  numbers.add(present)
  for (const name of snapshotFigureNames) {
    const figure = snapshot[name]
    if (figure !== undefined) numbers.add(figure)
  }
}

/** @throws RangeError: damaged, or written by a newer version. */
export function nextSnapshot(numbers: NumberReader): SnapshotFigures {
  const place = numbers.next()
  const mode = restoreModes[place - 1]
  const restoreUs = numbers.next()
  const present = numbers.next()
  if ((place !== 0 && mode === undefined) || !(present >= 0 && present < 1 << snapshotFigureNames.length)) throw new RangeError('a record has a snapshot that is not known here')
  const figures: Partial<Record<(typeof snapshotFigureNames)[number], number>> = {}
  for (let index = 0; index < snapshotFigureNames.length; index++) if ((present & (1 << index)) !== 0) figures[snapshotFigureNames[index]!] = numbers.next()
  return { ...(mode !== undefined && { mode }), restoreUs, ...figures }
}
