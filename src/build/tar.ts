/**
 * Code as one tar whose bytes depend on nothing but the files: sorted, no times, no owners.
 *
 * So the same code has the same digest on every machine and every day: deploying it again uploads nothing, and a
 * revision's code can be checked against its source.
 */
import { createHash } from 'node:crypto'
import { pack } from 'tar-stream'
import type { SourceFiles } from './source-files.ts'

export interface PackedCode {
  readonly tar: Buffer
  /** SHA-256 of the tar, 64 lowercase hex digits: the blob's name. */
  readonly digest: string
}

export async function packCode(files: SourceFiles): Promise<PackedCode> {
  const archive = pack()
  const reading = collect(archive)
  for (const path of [...files.keys()].sort()) {
    const file = files.get(path)!
    archive.entry({ name: path, size: file.bytes.length, mode: file.executable ? 0o755 : 0o644, mtime: new Date(0), uid: 0, gid: 0, type: 'file' }, file.bytes)
  }
  archive.finalize()
  const tar = await reading
  return { tar, digest: createHash('sha256').update(tar).digest('hex') }
}

async function collect(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
