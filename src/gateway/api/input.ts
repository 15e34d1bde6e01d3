/** Checks what came in against its schema, and says what is wrong: which field, why, and what was given. */
import type * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'

export interface InputIssue {
  /** Dotted, e.g. `config.burst.depth`; empty for the whole. */
  readonly path: string
  readonly reason: string
}

/** @param where `body`, `query`, … for the message. @throws INPUT_INVALID with all issues in `details.issues`. */
export function checkInput<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issues = result.error.issues.flatMap((issue) => explain(issue, value))
  const words = issues.slice(0, 5).map(({ path, reason }) => (path === '' ? reason : `${path}: ${reason}`))
  const more = issues.length > 5 ? `; and ${issues.length - 5} more` : ''
  throw new PlatformError('INPUT_INVALID', `The ${where} is not valid: ${words.join('; ')}${more}.`, { details: { issues: issues.slice(0, 20) } })
}

/** @throws NAME_INVALID. */
export function checkName<Schema extends z.ZodType>(schema: Schema, value: string, what: string): z.output<Schema> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const shown = value.length > 80 ? `${value.slice(0, 80)}… (${value.length} characters)` : value
  throw new PlatformError(
    'NAME_INVALID',
    `${JSON.stringify(shown)} can't name a ${what}: ${result.error.issues[0]!.message}.`,
    { details: { length: value.length } },
  )
}

function explain(issue: z.core.$ZodIssue, input: unknown): InputIssue[] {
  const path = issue.path.join('.')
  if (issue.code === 'unrecognized_keys') {
    const reason = 'there is no such field; see GET /v1/openapi.json for those there are'
    return issue.keys.slice(0, 20).map((key) => ({ path: [...issue.path, key.slice(0, 80)].join('.'), reason }))
  }
  const given = valueAt(input, issue.path)
  if (given === undefined && issue.code === 'invalid_type') return [{ path, reason: 'is required' }]
  // Numbers help to see the mistake. Texts may be secrets, and are not repeated.
  const shown = typeof given === 'number' || typeof given === 'boolean' ? ` (given: ${given})` : ''
  const message = issue.message.replace(/^(Too (?:small|big)|Invalid (?:input|option)): /, '')
  return [{ path, reason: `${message}${shown}` }]
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  for (const part of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<PropertyKey, unknown>)[part]
  }
  return value
}
