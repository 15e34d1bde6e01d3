/** An object store of S3's kind for comparison: PUT gives a path when the object is durable (fsync), GET gives it back whole. It prints its port. */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { openFileBlobs } from '#store/file-blobs.ts'

const directory = mkdtempSync(join(tmpdir(), 'skep-blob-bench-'))
process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
process.on('SIGTERM', () => process.exit(0))
// Its parent is gone, or has no more use for it.
process.stdin.resume().on('end', () => process.exit(0))

const blobs = await openFileBlobs({ directory: join(directory, 'blobs') })
const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  answer().catch((thrown: unknown) => response.writeHead(500).end(String(thrown)))
  async function answer(): Promise<void> {
    if (request.method === 'PUT') {
      const { digest } = await blobs.put(request, { bytesMax: Number.MAX_SAFE_INTEGER })
      return void response.end(`/${digest}`)
    }
    const digest = request.url!.slice(1)
    const info = await blobs.stat(digest)
    response.setHeader('content-length', info!.bytes)
    await pipeline(await blobs.get(digest), response)
  }
})
server.listen(0, process.argv[2])
await once(server, 'listening')
process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
