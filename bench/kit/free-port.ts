/** A port for a baseline that has to be told its own (Redis, workerd). */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

/** A port that is free on loopback, for a server that cannot choose one and say which. A network namespace of its own has nothing on it anyway. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
