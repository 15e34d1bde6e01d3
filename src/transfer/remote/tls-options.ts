/**
 * How two workers speak: TLS 1.3 with one cipher, each side proving that it is of the group, and the client that it reached the worker it meant.
 *
 * Sessions are not resumed: connections live long, and a full handshake is the only one there is to understand.
 */
import { constants } from 'node:crypto'
import type { ConnectionOptions, PeerCertificate, TlsOptions } from 'node:tls'
import type { Credentials } from './certificates.ts'

/** The protocol and its version: another version is another name, and is refused in the handshake. */
const PROTOCOL = 'skep-transfer/1'

/** With AES of 128 bits one core seals 6 to 10 GB/s here; the key exchange is OpenSSL's first choice, X25519 with ML-KEM-768. */
const CIPHER = 'TLS_AES_128_GCM_SHA256'

function commonOptions(credentials: Credentials) {
  return {
    ...credentials,
    ca: [...credentials.ca],
    minVersion: 'TLSv1.3' as const,
    ciphers: CIPHER,
    ALPNProtocols: [PROTOCOL],
    secureOptions: constants.SSL_OP_NO_TICKET,
    rejectUnauthorized: true,
  }
}

export function serverTlsOptions(credentials: Credentials, handshakeMs: number): TlsOptions {
  return { ...commonOptions(credentials), requestCert: true, handshakeTimeout: handshakeMs, noDelay: true } as TlsOptions
}

export function clientTlsOptions(credentials: Credentials, worker: string): ConnectionOptions {
  return {
    ...commonOptions(credentials),
    // No server name: workers have ids, and those are compared here.
    servername: '',
    checkServerIdentity: (_host: string, certificate: PeerCertificate) =>
      certificate.subject.CN === worker ? undefined : new Error(`it is worker ${JSON.stringify(certificate.subject.CN)}, and not ${JSON.stringify(worker)}`),
  }
}
