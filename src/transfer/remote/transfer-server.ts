/**
 * The producer's side of transfers between workers: listens, and serves the objects of this worker to peers of its group.
 *
 * Invariants:
 *   S1. Nobody gets as far as a frame without a certificate of the group's authority.
 *   S2. After `close` no lease is left, and the port is free.
 */
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Server } from 'node:tls'
import { PlatformError } from '#contract/errors.ts'
import type { ObjectServer } from '../peers.ts'
import type { SharedMemory } from '../shared-memory.ts'
import type { Credentials } from './certificates.ts'
import type { RemoteConfig } from './config.ts'
import type { PeerAddress } from './peer-connection.ts'
import { ServingConnection } from './serving-connection.ts'
import { serverTlsOptions } from './tls-options.ts'

export class TransferServer {
  readonly #server: Server
  readonly #connections: ReadonlySet<ServingConnection>
  /** All of them, also those that have not proved who they are. */
  readonly #sockets: ReadonlySet<Socket>

  /** Where it listens: what peers have to know. */
  readonly address: PeerAddress

  private constructor(server: Server, connections: Set<ServingConnection>, sockets: Set<Socket>) {
    const { address, port } = server.address() as AddressInfo
    this.address = { host: address, port }
    this.#server = server
    this.#connections = connections
    this.#sockets = sockets
  }

  /** @param options.address Port 0 picks one. @param options.memory Where there is such a thing: objects are then sent from it without a copy. @throws PORT_IN_USE. */
  static async listen(options: { readonly address: PeerAddress; readonly credentials: Credentials; readonly objects: ObjectServer; readonly memory?: Pick<SharedMemory, 'mapPart'> | undefined; readonly config: RemoteConfig }): Promise<TransferServer> {
    const { address, credentials, objects, memory, config } = options
    const server = createServer(serverTlsOptions(credentials, config.connectMs))
    const connections = new Set<ServingConnection>()
    const sockets = new Set<Socket>()
    server.maxConnections = config.connectionsMax
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
    })
    server.on('secureConnection', (socket) => {
      connections.add(new ServingConnection(socket, { objects, config, memory, ended: (connection) => connections.delete(connection) }))
    })
    server.on('tlsClientError', () => {
      // Somebody who is not of the group, or a scan of ports. Node has closed the connection.
    })
    server.listen(address.port, address.host)
    try {
      await once(server, 'listening')
    } catch (thrown) {
      const { code } = thrown as NodeJS.ErrnoException
      if (code !== 'EADDRINUSE') throw thrown
      throw new PlatformError('PORT_IN_USE', `Port ${address.port} of ${address.host}, where workers get objects of this one, is taken. Stop who has it, or choose another port.`, { cause: thrown })
    }
    server.on('error', () => {
      // A connection that could not be accepted, for want of descriptors: the peer sees it.
    })
    return new TransferServer(server, connections, sockets)
  }

  /** Breaks off what is going on. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const connection of this.#connections) connection.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
