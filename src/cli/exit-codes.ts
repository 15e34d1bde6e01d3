/**
 * What the CLI's exit codes mean. Scripts rely on them: a number never gets another meaning.
 *
 * The same table stands in docs/cli.md.
 */
import { isPlatformErrorCode, platformErrors } from '#contract/errors.ts'

export const exitCodes = {
  ok: 0,
  /** The function failed: it threw, timed out, was killed, or could not start; or a check that was asked for failed. */
  functionFailed: 1,
  /** The command or what it was given is wrong. */
  usage: 2,
  notFound: 3,
  /** No key, a wrong key, or a key that may not. */
  notAllowed: 4,
  /** The platform cannot be reached, is stopping, lacks something or failed. */
  platform: 5,
  /** Refused for now: a conflict with another change, a quota, a full queue. Trying again can help. */
  later: 6,
  interrupted: 130,
} as const
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

/** The exit code for an error code of the platform, from its row in the table. */
export function exitCodeFor(code: string): ExitCode {
  if (!isPlatformErrorCode(code)) return exitCodes.platform
  const { fault, status } = platformErrors[code]
  if (fault === 'function') return exitCodes.functionFailed
  if (code === 'SERVER_UNREACHABLE' || code === 'PORT_IN_USE' || code === 'DATA_LOCKED' || code === 'DATA_VERSION_NEWER') return exitCodes.platform
  if (status === 429 || status === 409 || code === 'QUEUE_FULL' || code === 'QUEUE_TIMEOUT') return exitCodes.later
  if (fault === 'platform') return exitCodes.platform
  if (status === 401 || status === 403) return exitCodes.notAllowed
  if (status === 404) return exitCodes.notFound
  return exitCodes.usage
}
