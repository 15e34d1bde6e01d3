/**
 * Who sends this request: from its Authorization header to a principal, without waiting.
 *
 * `Bearer <key>`, or `Basic` with the key as the password (curl -u, and clients that know nothing else). Hashing a key
 * takes some µs and happens once: afterwards the whole header is looked up. Only valid headers are remembered, so that
 * guesses can't push them out, and all are forgotten when any key changes, so that a revoked key is refused at once.
 *
 * Invariants:
 *   K1. A principal is given only for a key that is valid now.
 *   K2. At most `remembered` headers are held.
 */
import { PlatformError } from '#contract/errors.ts'
import type { KeyRole, NamespaceRegistry } from '#registry/namespaces.ts'

export interface Principal {
  readonly namespace: string
  readonly keyId: string
  readonly role: KeyRole
}

/** Longer than a key in base64 with any user name that makes sense; nothing longer is looked at. */
const HEADER_CHARACTERS_MAX = 1024

export class Authenticator {
  readonly #namespaces: Pick<NamespaceRegistry, 'verifyKey'>
  readonly #remembered: number
  readonly #principals = new Map<string, Principal>()
  readonly #unwatch: () => void

  /** @param remembered Headers held (K2), of some 200 bytes each. Default 1000: more keys than are in use at a time. */
  constructor(options: { readonly namespaces: Pick<NamespaceRegistry, 'verifyKey' | 'onKeysChange'>; readonly remembered?: number }) {
    this.#namespaces = options.namespaces
    this.#remembered = options.remembered ?? 1000
    this.#unwatch = options.namespaces.onKeysChange(() => this.#principals.clear())
  }

  /** @param authorization The header as it came. @throws KEY_MISSING, KEY_INVALID. */
  authenticate(authorization: string | undefined): Principal {
    if (authorization === undefined || authorization === '') {
      throw new PlatformError(
        'KEY_MISSING',
        'This needs a key and none was sent; send "Authorization: Bearer <key>". On the machine of the platform, credentials.json in its data directory has one.',
      )
    }
    return this.#principals.get(authorization) ?? this.#verify(authorization)
  }

  close(): void {
    this.#unwatch()
  }

  #verify(authorization: string): Principal {
    const text = authorization.length > HEADER_CHARACTERS_MAX ? undefined : keyOf(authorization)
    if (text === undefined) {
      throw new PlatformError(
        'KEY_INVALID',
        'The Authorization header holds no key; send "Bearer <key>", or "Basic" with the key as the password. A key looks like skep_<id>_<secret>.',
      )
    }
    const key = this.#namespaces.verifyKey(text)
    if (key === undefined) {
      throw new PlatformError(
        'KEY_INVALID',
        'The key is not valid: it was revoked, belongs to another platform, or was cut short. Ask an administrator of the namespace for a new one.',
      )
    }
    const principal: Principal = { namespace: key.namespace, keyId: key.id, role: key.role }
    if (this.#principals.size >= this.#remembered) this.#principals.delete(this.#principals.keys().next().value!)
    this.#principals.set(authorization, principal)
    return principal
  }
}

/**
 * The namespace that a request acts in: the key's own, or any for an admin key.
 * @throws FORBIDDEN.
 */
export function namespaceFor(principal: Principal, wanted: string | undefined): string {
  if (wanted === undefined || wanted === principal.namespace || principal.role === 'admin') return wanted ?? principal.namespace
  throw new PlatformError('FORBIDDEN', `This key belongs to namespace ${principal.namespace} and may not act in ${wanted}; use a key of ${wanted}, or an admin key.`, {
    details: { namespace: principal.namespace, wanted },
  })
}

function keyOf(authorization: string): string | undefined {
  const space = authorization.indexOf(' ')
  const scheme = authorization.slice(0, space).toLowerCase()
  const value = authorization.slice(space + 1).trim()
  if (scheme === 'bearer') return value
  if (scheme !== 'basic') return undefined
  const pair = Buffer.from(value, 'base64').toString('latin1')
  const colon = pair.indexOf(':')
  return colon === -1 ? undefined : pair.slice(colon + 1)
}
