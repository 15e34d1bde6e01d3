/** A function's package as a zip, as OpenWhisk and AWS Lambda take it. Its bytes depend on the files only, but for the filler. */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { ZipFile } from 'yazl'
import { FILLER, fillerChunks } from '../functions/package.ts'
import type { FunctionPackage } from '../functions/package.ts'

export async function zipOf({ files, fillerBytes }: FunctionPackage): Promise<Buffer> {
  const zip = new ZipFile()
  const options = { mtime: new Date(315_532_800_000), mode: 0o644 }
  for (const [name, text] of files) zip.addBuffer(Buffer.from(text), name, options)
  if (fillerBytes > 0) zip.addReadStream(Readable.from(fillerChunks(fillerBytes)), FILLER, { ...options, size: fillerBytes, compress: false })
  zip.end()
  return buffer(zip.outputStream)
}
