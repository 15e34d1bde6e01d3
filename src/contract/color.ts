/**
 * Colours: what a caller says about which invocations share data (Abdi et al., "Palette Load Balancing", EuroSys 2023).
 *
 * A colour is any short text. Invocations of one colour want the same instance, and functions that are called with one colour the same worker; it is
 * a hint, never a promise: an invocation does not wait for the place of its colour. Inside the platform it is a number, made once, so that the
 * balancer compares numbers. Two colours with the same number share their places, and nothing else.
 *
 * A colour means something in its namespace only: everybody's `1` must not meet on one worker.
 */
import { PlatformError } from './errors.ts'
import { hash32 } from './rendezvous.ts'

/** In a request: the colour of its invocation. */
export const COLOR_HEADER = 'x-skep-color'

/** Enough for an id or a digest; it travels with the invocation, in memory and in queues. */
export const COLOR_LENGTH_MAX = 128

/** The number of an invocation without a colour. */
export const NO_COLOR = 0

/** A colour as it came from outside; none is undefined or empty. @throws INPUT_INVALID. */
export function parseColor(value: unknown): string | undefined {
  if (value === undefined || value === '') return undefined
  if (typeof value === 'string' && value.length <= COLOR_LENGTH_MAX) return value
  const what = typeof value === 'string' ? `${value.length} characters` : value === null ? 'null' : `a ${typeof value}`
  throw new PlatformError('INPUT_INVALID', `A colour is a text of at most ${COLOR_LENGTH_MAX} characters; this is ${what}. Use an id or a digest of what the invocations share.`, {
    details: { max: COLOR_LENGTH_MAX },
  })
}

/** 32-bit, signed, never {@link NO_COLOR}. */
export function colorOf(namespace: string, text: string): number {
  // Names have no such character, so the two parts cannot run into each other.
  return hash32(`${namespace}\0${text}`) || 1
}
