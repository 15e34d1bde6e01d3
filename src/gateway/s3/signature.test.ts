/**
 * Goal: a signature is right exactly when AWS's own would be; whatever else is sent is refused with S3's error.
 *
 * Method: the worked examples of AWS's documentation (Signature Version 4 for S3: header, presigned URL, chunks), computed here; one
 * thing changed at a time; random text for the parsers, which may only throw S3Error.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { identify } from './authentication.ts'
import { decodeChunks } from './aws-chunked.ts'
import { S3Error } from './errors.ts'
import { EMPTY_SHA256, canonicalRequest, parseAuthorization, parsePresigned, parseTime, sign, signingKey, stringToSign, uriEncode } from './signature.ts'
import { parseTarget } from './target.ts'

const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'
const TIME = '20130524T000000Z'
const scope = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', date: '20130524', region: 'us-east-1' }
const host = 'examplebucket.s3.amazonaws.com'

function signatureOf(method: string, url: string, headers: Readonly<Record<string, string>>, payload = EMPTY_SHA256): string {
  const { path, pairs } = parseTarget(url)
  const canonical = canonicalRequest({ method, path, query: pairs, header: (name) => [headers[name]!], signedHeaders: Object.keys(headers).sort(), payload })
  return sign(signingKey(SECRET, scope), stringToSign(TIME, scope, canonical))
}

const base = { host, 'x-amz-content-sha256': EMPTY_SHA256, 'x-amz-date': TIME }

describe('the examples of AWS', () => {
  const text = '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072'
  for (const [what, found, expected] of [
    ['GET with a range', signatureOf('GET', '/test.txt', { ...base, range: 'bytes=0-9' }), 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'],
    ['PUT', signatureOf('PUT', '/test%24file.text', { ...base, 'x-amz-content-sha256': text, date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' }, text), '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'],
    ['a sub-resource', signatureOf('GET', '/?lifecycle', base), 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
    ['a listing', signatureOf('GET', '/?max-keys=2&prefix=J', base), '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7'],
  ] as const) test(what, () => assert.equal(found, expected))

  test('a presigned URL', () => {
    const query = `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=${TIME}&X-Amz-Expires=86400&X-Amz-SignedHeaders=host`
    assert.equal(signatureOf('GET', `/test.txt?${query}`, { host }, 'UNSIGNED-PAYLOAD'), 'aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404')
    const presented = parsePresigned(parseTarget(`/test.txt?${query}&X-Amz-Signature=${'0'.repeat(64)}`).query)
    assert.deepEqual(presented, { kind: 'query', scope, signedHeaders: ['host'], signature: '0'.repeat(64), time: TIME, expiresS: 86400 })
  })

  test('a body in signed chunks', async () => {
    const signing = { key: signingKey(SECRET, scope), scope, time: TIME, signature: '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9' }
    const chunk = (bytes: number, signature: string): string => `${bytes.toString(16)};chunk-signature=${signature}\r\n${'a'.repeat(bytes)}\r\n`
    const signatures = ['ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648', '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497', 'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9'] as const
    const decoded = async (body: string): Promise<number> => {
      let bytes = 0
      const source = (async function* () {
        yield Buffer.from(body)
      })()
      for await (const piece of decodeChunks(source, { bytes: 66_560, signing, signedTrailer: false, trailer() {} })) bytes += piece.length
      return bytes
    }
    const body = chunk(65_536, signatures[0]) + chunk(1024, signatures[1]) + chunk(0, signatures[2])
    assert.equal(await decoded(body), 66_560)
    await assert.rejects(decoded(body.replace('aaaa', 'aaab')), { code: 'SignatureDoesNotMatch' })
    await assert.rejects(decoded(chunk(1024, signatures[1]) + chunk(65_536, signatures[0]) + chunk(0, signatures[2])), { code: 'SignatureDoesNotMatch' })
    await assert.rejects(decoded(chunk(65_536, signatures[0]) + chunk(1024, signatures[1])), { code: 'IncompleteBody' })
  })
})

test('the example of AWS: signed chunks and a signed trailer', async () => {
  const signing = { key: signingKey(SECRET, scope), scope, time: TIME, signature: '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e' }
  const chunk = (bytes: number, signature: string): string => `${bytes.toString(16)};chunk-signature=${signature}\r\n${'a'.repeat(bytes)}${bytes > 0 ? '\r\n' : ''}`
  const body =
    chunk(65_536, 'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2') +
    chunk(1024, '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7') +
    chunk(0, '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992') +
    'x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n'
  const decoded = async (text: string): Promise<readonly string[]> => {
    const trailers: string[] = []
    const source = (async function* () {
      yield Buffer.from(text)
    })()
    for await (const _piece of decodeChunks(source, { bytes: 66_560, signing, signedTrailer: true, trailer: (name, value) => void trailers.push(name, value) }));
    return trailers
  }
  assert.deepEqual(await decoded(body), ['x-amz-checksum-crc32c', 'sOO8/Q=='])
  await assert.rejects(decoded(body.replace('sOO8', 'sOO9')), { code: 'SignatureDoesNotMatch' })
  await assert.rejects(decoded(body.replace(/x-amz-trailer-signature.*\r\n/, '')), { code: 'SignatureDoesNotMatch' })
})

describe('identify', () => {
  const nowMs = parseTime(TIME)!
  const signer = (accessKeyId: string) => (accessKeyId === scope.accessKeyId ? { accessKeyId, namespace: 'n', secret: SECRET } : undefined)
  const url = '/s3/bee/a%20key?list-type=2'
  const authorization = (id = scope.accessKeyId, signed = 'host;x-amz-content-sha256;x-amz-date', signature = signatureOf('GET', url, base)): string =>
    `AWS4-HMAC-SHA256 Credential=${id}/20130524/us-east-1/s3/aws4_request, SignedHeaders=${signed}, Signature=${signature}`
  const asked = (over: { url?: string; method?: string; headers?: Record<string, string>; nowMs?: number } = {}) => {
    const headers = { ...base, authorization: authorization(), ...over.headers }
    const headersDistinct = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]))
    return () => identify({ method: over.method ?? 'GET', headers, headersDistinct }, parseTarget(over.url ?? url), { signer, nowMs: over.nowMs ?? nowMs })
  }

  test('lets the right one in, also when the path is signed in another encoding', () => {
    assert.equal(asked()().namespace, 'n')
    assert.equal(asked({ url: url.replace('a%20key', '%61%20key') })().namespace, 'n')
  })

  test('refuses what was changed after signing, or was signed by another (V1)', () => {
    assert.throws(asked({ method: 'PUT' }), { code: 'SignatureDoesNotMatch' })
    assert.throws(asked({ url: url.replace('bee', 'cee') }), { code: 'SignatureDoesNotMatch' })
    assert.throws(asked({ url: `${url}&prefix=x` }), { code: 'SignatureDoesNotMatch' })
    assert.throws(asked({ headers: { host: 'elsewhere' } }), { code: 'SignatureDoesNotMatch' })
    assert.throws(asked({ headers: { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' } }), { code: 'SignatureDoesNotMatch' })
    assert.throws(asked({ headers: { 'x-amz-copy-source': 'a/b' } }), { code: 'AccessDenied' })
    assert.throws(asked({ headers: { authorization: authorization('AKIAOTHER') } }), { code: 'InvalidAccessKeyId' })
    assert.throws(asked({ headers: { authorization: authorization(scope.accessKeyId, 'x-amz-content-sha256;x-amz-date') } }), { code: 'AccessDenied' })
    assert.throws(asked({ headers: { authorization: 'Bearer skep_x' } }), { code: 'AuthorizationHeaderMalformed' })
    assert.throws(asked({ url: `${url}&X-Amz-Signature=1` }), { code: 'InvalidArgument' })
  })

  test('refuses a signature of another time (V2)', () => {
    for (const minutes of [-14, 14]) assert.equal(asked({ nowMs: nowMs + minutes * 60_000 })().namespace, 'n')
    for (const minutes of [-16, 16]) assert.throws(asked({ nowMs: nowMs + minutes * 60_000 }), { code: 'RequestTimeTooSkewed' })
    assert.equal(parseTime('20130231T000000Z'), undefined)
  })
})

describe('what clients send', () => {
  const onlyS3Errors = (act: () => unknown): void => {
    try {
      act()
    } catch (thrown) {
      assert.ok(thrown instanceof S3Error, String(thrown))
    }
  }

  test('an Authorization header of any text is understood or refused', () => {
    const fields = fc.constantFrom('Credential=', 'SignedHeaders=', 'Signature=', 'AKIA/20130524/us-east-1/s3/aws4_request', 'host;x-amz-date', 'f'.repeat(64), ',', ' ', '=', '/')
    fc.assert(fc.property(fc.array(fc.oneof(fields, fc.string({ maxLength: 20 })), { maxLength: 30 }), fc.string({ maxLength: 20 }), (parts, time) => onlyS3Errors(() => parseAuthorization(`AWS4-HMAC-SHA256 ${parts.join('')}`, time))))
    fc.assert(fc.property(fc.string({ maxLength: 200 }), (text) => onlyS3Errors(() => parseAuthorization(text, TIME))))
  })

  test('an address of any text is understood or refused, and an encoded key comes back as it was', () => {
    const piece = fc.constantFrom('/', '//', '..', '%', '%2F', '%C3', '?', '&', '=', '+', 'X-Amz-Algorithm=AWS4-HMAC-SHA256', 'X-Amz-Expires=', 'X-Amz-Date=20130524T000000Z')
    fc.assert(fc.property(fc.array(fc.oneof(piece, fc.string({ maxLength: 8 })), { maxLength: 30 }), (parts) => onlyS3Errors(() => parsePresigned(parseTarget(`/s3/${parts.join('')}`).query))))
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).filter((key) => !key.includes('\0') && !key.includes('\u{10FFFF}')), (key) => {
        const target = parseTarget(`/s3/bee/${key.split('/').map(uriEncode).join('/')}?prefix=${uriEncode(key)}`)
        assert.deepEqual([target.bucket, target.key, target.query.get('prefix')], ['bee', key, key])
      }),
    )
    assert.throws(() => parseTarget(`/s3/bee/${'ü'.repeat(513)}`), { code: 'KeyTooLongError' })
    assert.throws(() => parseTarget('/s3/bee/%00'), { code: 'InvalidArgument' })
  })
})
