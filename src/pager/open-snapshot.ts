/**
 * Opens the files of a snapshot for restores: checks the headers against the real files and against each other, and answers with
 * what the restore side takes (snapshot.ts).
 *
 * It runs in the host process, in a directory that the worker has linked the files into. The content of the pages is not checked
 * here: that would read all of them, which is what a restore is there to avoid. The worker checks it in the background
 * (worker/snapshots).
 *
 * A working set is a hint: when it is damaged or of another image, the snapshot opens without it, and says why.
 */
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import { damaged, requireIdentity } from './header-codec.ts'
import type { FileIdentity } from './header-codec.ts'
import { readImageHeaderSync } from './image-file.ts'
import type { ImageHeader } from './image-file.ts'
import { ioError, openDirect } from './snapshot-io.ts'
import type { SnapshotSource, WorkingSetSource } from './snapshot.ts'
import { readWorkingSetHeaderSync } from './working-set-file.ts'
import type { WorkingSetHeader } from './working-set-file.ts'

/** The names under which the files of one snapshot lie in one directory. */
export const snapshotFileNames = { image: 'image', trace: 'trace', workingSet: 'working-set' } as const

export interface OpenSnapshot extends SnapshotSource, Disposable {
  readonly image: ImageHeader
  /** What the file says, also when it is compressed: `workingSet` is only there for pages that are stored as they are. */
  readonly workingSetHeader?: WorkingSetHeader
  /** Why a working set that is there is not used. */
  readonly workingSetProblem?: PlatformError
}

/**
 * @param wanted What the snapshot has to be of. Disposing closes the files; memory that was mapped from them stays mapped.
 * @throws SNAPSHOT_DAMAGED, SNAPSHOT_MISMATCH, STORE_FAILED, all about the image.
 */
export function openSnapshot(directory: string, wanted: Partial<FileIdentity> = {}): OpenSnapshot {
  using opening = new DisposableStack()
  const imagePath = join(directory, snapshotFileNames.image)
  const imageFd = openForReading(imagePath)
  opening.defer(() => closeSync(imageFd))
  const image = readImageHeaderSync(imageFd, imagePath, wanted)
  const imageDirectFd = directOr(imageFd, imagePath, opening)
  const { imageOffset, imageBytes, pagesStored } = image
  const workingSet = openWorkingSet(directory, image, opening)
  const closing = opening.move()
  return { image, imageFd, imageDirectFd, imageOffset, imageBytes, pagesStored, ...workingSet, [Symbol.dispose]: () => closing.dispose() }
}

function openWorkingSet(directory: string, image: ImageHeader, opening: DisposableStack): Pick<OpenSnapshot, 'workingSet' | 'workingSetHeader' | 'workingSetProblem'> {
  const path = join(directory, snapshotFileNames.workingSet)
  try {
    const fd = openForReading(path)
    opening.defer(() => closeSync(fd))
    const header = readWorkingSetHeaderSync(fd, path)
    requireIdentity(path, header, image)
    if (header.imageBytes !== image.imageBytes) throw damaged(path, `it is of a memory of ${header.imageBytes} bytes, and its image has ${image.imageBytes}`)
    if (header.encoding !== 'stored') return { workingSetHeader: header }
    const { offset, runs, zeroRuns } = header
    const workingSet: WorkingSetSource = { fd, directFd: directOr(fd, path, opening), offset, runs, zeroRuns }
    return { workingSet, workingSetHeader: header }
  } catch (thrown) {
    if (!(thrown instanceof PlatformError)) throw thrown
    // Nothing has been recorded yet: that is not a problem.
    return (thrown.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT' ? {} : { workingSetProblem: thrown }
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (thrown) {
    throw (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? damaged(path, 'it is not there', thrown) : ioError(path, thrown)
  }
}

function directOr(fd: number, path: string, opening: DisposableStack): number {
  const direct = openDirect(path)
  if (direct === undefined) return fd
  opening.defer(() => closeSync(direct))
  return direct
}
