/**
 * Goal: who is not of the group gets nowhere, and a consumer's worker reaches the very worker that it means (C1 to C3).
 * Method: real TLS connections over loopback between makers of certificates; what was made is read by OpenSSL, through node:crypto.
 */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { describe, it } from 'node:test'
import { connect, createServer } from 'node:tls'
import type { ConnectionOptions } from 'node:tls'
import { makeCredentials } from './certificates.ts'
import type { Credentials } from './certificates.ts'
import { clientTlsOptions, serverTlsOptions } from './tls-options.ts'

const GROUP = Buffer.alloc(32, 1)
const OTHER = Buffer.alloc(32, 2)

describe('certificates of a worker group', () => {
  it('are what RFC 5280 says: signed by the authority, which may sign; the worker may not (C1)', () => {
    const { cert, ca } = makeCredentials('worker-1', [GROUP])
    const own = new X509Certificate(cert)
    const authority = new X509Certificate(ca[0]!)
    assert.equal(own.subject, 'CN=worker-1')
    assert.ok(own.checkIssued(authority) && own.verify(authority.publicKey) && authority.verify(authority.publicKey))
    assert.ok(authority.ca && !own.ca)
    assert.equal(own.validTo, 'Dec 31 23:59:59 9999 GMT')
    assert.equal(own.publicKey.asymmetricKeyType, 'ed25519')
  })

  it('have the same authority wherever they are made, and a private key of their own', () => {
    const [one, other] = [makeCredentials('a', [GROUP]), makeCredentials('b', [GROUP])]
    assert.ok(new X509Certificate(one.cert).verify(new X509Certificate(other.ca[0]!).publicKey))
    assert.notEqual(one.key, other.key)
  })

  it('take names of up to 64 characters of any kind', async () => {
    for (const name of ['x'.repeat(64), 'Wörker-ß', 'a,CN=b']) assert.equal(await meet(makeCredentials(name, [GROUP]), makeCredentials('client', [GROUP]), name), 'TLSv1.3 TLS_AES_128_GCM_SHA256')
    assert.throws(() => makeCredentials('x'.repeat(65), [GROUP]), /64/)
    assert.throws(() => makeCredentials('', [GROUP]))
    assert.throws(() => makeCredentials('w', [Buffer.alloc(31)]), /32 bytes/)
  })

  it('of another group are refused, by the client and by the server (C1)', async () => {
    const [ours, theirs] = [makeCredentials('server', [GROUP]), makeCredentials('client', [OTHER])]
    assert.match(await meet(ours, theirs, 'server'), /^refused/)
    // A client that trusts everybody still has to prove itself.
    assert.match(await meet(ours, theirs, 'server', { rejectUnauthorized: false }), /^refused/)
    const { key, cert, ...anonymous } = clientTlsOptions(makeCredentials('client', [GROUP]), 'server')
    assert.match(await meetWith(ours, anonymous), /^refused/)
  })

  it('name the worker: another one of the same group is not taken for it', async () => {
    assert.match(await meet(makeCredentials('worker-2', [GROUP]), makeCredentials('client', [GROUP]), 'worker-1'), /^refused.*"worker-2", and not "worker-1"/)
  })

  it('of an older and a newer key of the group are accepted while both are known (C2)', async () => {
    const older = makeCredentials('server', [OTHER, GROUP])
    const newer = makeCredentials('client', [GROUP, OTHER])
    assert.equal(await meet(older, newer, 'server'), 'TLSv1.3 TLS_AES_128_GCM_SHA256')
    assert.match(await meet(older, makeCredentials('client', [GROUP]), 'server'), /^refused/)
  })

  it('are not asked for in older versions of TLS, nor in another protocol', async () => {
    const server = makeCredentials('server', [GROUP])
    const options = clientTlsOptions(makeCredentials('client', [GROUP]), 'server')
    assert.match(await meetWith(server, { ...options, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }), /^refused/)
    assert.match(await meetWith(server, { ...options, ALPNProtocols: ['skep-transfer/2'] }), /^refused/)
  })
})

function meet(server: Credentials, client: Credentials, worker: string, override: ConnectionOptions = {}): Promise<string> {
  return meetWith(server, { ...clientTlsOptions(client, worker), ...override })
}

/** @returns What they agreed on, once a byte has come back from the server; or why not. */
async function meetWith(credentials: Credentials, options: ConnectionOptions): Promise<string> {
  const server = createServer(serverTlsOptions(credentials, 1000), (socket) => {
    socket.on('error', () => {})
    socket.end('x')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({ ...options, host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  try {
    return await new Promise<string>((resolve) => {
      socket.on('error', (error) => resolve(`refused: ${error.message}`))
      socket.on('close', () => resolve('refused: closed'))
      socket.on('data', () => resolve(`${socket.getProtocol()} ${socket.getCipher().standardName}`))
    })
  } finally {
    socket.destroy()
    server.close()
  }
}
