/**
 * Sends N requests at once over N connections that are open already, and prints the latencies as one JSON line.
 *
 * Usage: burst-client.ts URL KEY N. Raw sockets: an HTTP client library would take longer to write 500 requests than the
 * platform to answer them. The clock of each request starts when the burst begins, not when its own bytes are written.
 */
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { once } from 'node:events'

const [url, key, count] = process.argv.slice(2)
const target = new URL(url!)
const request = `GET ${target.pathname} HTTP/1.1\r\nhost: ${target.host}\r\nauthorization: Bearer ${key}\r\nconnection: close\r\n\r\n`

const sockets: Socket[] = []
for (let opened = 0; opened < Number(count); opened++) {
  const socket = connect(Number(target.port), target.hostname)
  await once(socket, 'connect')
  sockets.push(socket)
}
const startMs = performance.now()
const results = sockets.map(
  (socket) =>
    new Promise<{ ms: number; ok: boolean }>((resolve) => {
      let status = ''
      socket.on('data', (chunk: Buffer) => {
        // The answers are small: the first chunk has the whole of it.
        if (status !== '') return
        status = chunk.toString('latin1', 9, 12)
        resolve({ ms: performance.now() - startMs, ok: status === '200' })
      })
      socket.on('error', () => resolve({ ms: performance.now() - startMs, ok: false }))
      socket.on('close', () => resolve({ ms: performance.now() - startMs, ok: false }))
    }),
)
for (const socket of sockets) socket.write(request)
const ended = await Promise.all(results)
const totalMs = performance.now() - startMs
for (const socket of sockets) socket.destroy()
process.stdout.write(`${JSON.stringify({ latencies: ended.map(({ ms }) => ms), totalMs, failed: ended.filter(({ ok }) => !ok).length })}\n`)
