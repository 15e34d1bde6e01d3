/**
 * Who may be a peer: X.509 certificates of the worker group's own authority, made by each worker for itself when it starts.
 *
 * Whoever has the group's key is of the group. The authority's Ed25519 key is derived from that key (HKDF), so that every worker can make the
 * authority's certificate and sign its own, and nothing has to be handed out. The worker's id is the common name of its certificate: a consumer's
 * worker sees that it speaks with the very worker that the reference names. The worker's own private key is made at start and never leaves the process.
 *
 *   Certificate ::= SEQUENCE { tbs, algorithm, BIT STRING signature }                                                   (RFC 5280, 4.1; RFC 8410)
 *   tbs         ::= SEQUENCE { [0] 2, serial, algorithm, issuer, validity, subject, public key, [3] extensions }
 *
 * Written by hand, because the libraries that can do Ed25519 bring 15 packages for these 60 lines (docs/decisions/0017). There is only an encoder:
 * everything that reads certificates is OpenSSL.
 *
 * Invariants:
 *   C1. A certificate of another group's authority is not accepted, nor one that the authority did not sign.
 *   C2. The authority of each group key has a name of its own, so that several may be trusted while a key is replaced.
 *   C3. Certificates do not expire: they end with the process, and the authority with the group's key. So no worker's clock matters.
 */
import assert from 'node:assert/strict'
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, hkdfSync, randomBytes, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

export interface Credentials {
  /** PEM, as node:tls takes them. */
  readonly key: string
  readonly cert: string
  readonly ca: readonly string[]
}

const INFO = 'skep transfer plane 1: certificate authority'
/** An Ed25519 private key in PKCS #8 up to its 32 bytes. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex')

/**
 * @param worker At most 64 characters.
 * @param groupKeys 32 bytes each: the current one first, then others that are still accepted.
 */
export function makeCredentials(worker: string, groupKeys: readonly Uint8Array[]): Credentials {
  assert(worker.length > 0 && worker.length <= 64, `a worker's id has 1 to 64 characters, and this one has ${worker.length}`)
  assert(groupKeys.length > 0 && groupKeys.every((key) => key.length === 32), 'a group key has 32 bytes')
  const authorities = groupKeys.map(makeAuthority)
  const own = generateKeyPairSync('ed25519')
  return {
    key: own.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    cert: certificate({ subject: worker, publicKey: own.publicKey, issuer: authorities[0]!, isAuthority: false }),
    ca: authorities.map((authority) => certificate({ subject: authority.name, publicKey: authority.publicKey, issuer: authority, isAuthority: true })),
  }
}

interface Authority {
  readonly name: string
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

function makeAuthority(groupKey: Uint8Array): Authority {
  const seed = Buffer.from(hkdfSync('sha256', groupKey, new Uint8Array(0), INFO, 32))
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(privateKey)
  const digest = createHash('sha256').update(publicKey.export({ type: 'spki', format: 'der' })).digest('hex')
  return { name: `skep worker group ${digest.slice(0, 32)}`, publicKey, privateKey }
}

interface CertificateTerms {
  readonly subject: string
  readonly publicKey: KeyObject
  readonly issuer: Authority
  readonly isAuthority: boolean
}

function certificate({ subject, publicKey, issuer, isAuthority }: CertificateTerms): string {
  const algorithm = sequence(oid('2b6570'))
  // Positive, and of a fixed length.
  const serial = randomBytes(16)
  serial[0] = 0x40 | (serial[0]! & 0x3f)
  const tbs = sequence(
    element(0xa0, element(0x02, Buffer.of(2))),
    element(0x02, serial),
    algorithm,
    name(issuer.name),
    sequence(element(0x17, Buffer.from('200101000000Z')), element(0x18, Buffer.from('99991231235959Z'))),
    name(subject),
    publicKey.export({ type: 'spki', format: 'der' }),
    element(0xa3, sequence(
      extension('551d13', isAuthority ? sequence(TRUE) : sequence()),
      // keyCertSign, or digitalSignature.
      extension('551d0f', element(0x03, isAuthority ? Buffer.of(2, 0x04) : Buffer.of(7, 0x80))),
    )),
  )
  const signature = element(0x03, Buffer.concat([Buffer.of(0), sign(null, tbs, issuer.privateKey)]))
  const base64 = sequence(tbs, algorithm, signature).toString('base64').replace(/.{64}/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}

const TRUE = element(0x01, Buffer.of(0xff))

function name(commonName: string): Buffer {
  return sequence(element(0x31, sequence(oid('550403'), element(0x0c, Buffer.from(commonName)))))
}

function extension(id: string, value: Buffer): Buffer {
  return sequence(oid(id), TRUE, element(0x04, value))
}

function oid(hex: string): Buffer {
  return element(0x06, Buffer.from(hex, 'hex'))
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return element(0x30, Buffer.concat(parts))
}

/** DER: the tag, the length in as few bytes as it takes, the content. */
function element(tag: number, content: Buffer): Buffer {
  const { length } = content
  const head = length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from(head), content])
}
