/** `skep stats` and `skep openapi`. */
import type { Context } from '../context.ts'

export async function stats(context: Context): Promise<void> {
  const answer = await (await context.client()).json<object>('GET', '/v1/stats')
  context.result(answer, () => outline(answer, ''))
}

export async function openapi(context: Context): Promise<void> {
  const document = await (await context.client()).json<object>('GET', '/v1/openapi.json')
  context.result(document, () => JSON.stringify(document, null, 2))
}

/** A tree of values as indented lines: whatever a platform counts is shown, also what this version does not know. */
export function outline(value: object, indent: string): string {
  return Object.entries(value).map(([name, inner]: [string, unknown]) => {
    if (typeof inner === 'object' && inner !== null) return `${indent}${name}\n${outline(inner, `${indent}  `)}`
    return `${indent}${name}  ${typeof inner === 'number' && !Number.isInteger(inner) ? inner.toFixed(2) : String(inner)}`
  }).join('\n')
}
