/** Reads JSON bodies, within a bound, and says what is wrong with one in words a person can act on. */
import type { IncomingMessage } from 'node:http'
import { PlatformError } from '#contract/errors.ts'

/** Configurations, keys, inline sources: larger things are uploaded as code. */
export const JSON_BYTES_MAX = 1024 * 1024

/** @returns undefined for an empty body. @throws BODY_TOO_LARGE, JSON_INVALID, CANCELLED. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > JSON_BYTES_MAX) throw tooLarge(announced)
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    // Not `for await` on the request itself: leaving that loop would destroy it, and with it the answer.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > JSON_BYTES_MAX) throw tooLarge(bytes)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof PlatformError) throw error
    throw new PlatformError('CANCELLED', 'The client went away before its request was complete.', { cause: error })
  }
  if (bytes === 0) return undefined
  return parse(decode(Buffer.concat(chunks)))
}

function decode(body: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch (cause) {
    throw new PlatformError('JSON_INVALID', 'The body is not JSON: it is not valid UTF-8. Send UTF-8 text.', { cause })
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const message = (cause as Error).message
    // V8 says where, except at the end of the text.
    const given = /at position (\d+)/.exec(message)?.[1]
    const position = given === undefined ? text.length : Number(given)
    const before = text.slice(0, position).split('\n')
    const line = before.length
    const column = before.at(-1)!.length + 1
    const what = message.replace(/ in JSON at position.*$/s, '').replace(/, "?[\s\S]*is not valid JSON$/, '')
    throw new PlatformError(
      'JSON_INVALID',
      `The body is not JSON: ${what}, at line ${line}, column ${column}.`,
      { cause, details: { position, line, column } },
    )
  }
}

function tooLarge(bytes: number): PlatformError {
  return new PlatformError('BODY_TOO_LARGE', `The body has ${bytes} bytes or more; JSON may have at most ${JSON_BYTES_MAX}. Upload larger code with POST /v1/code.`, {
    details: { bytesMax: JSON_BYTES_MAX },
  })
}
