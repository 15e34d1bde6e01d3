/** The OpenAPI 3.1 document, written from the routes: so it can't say anything else than what is checked. */
import * as z from 'zod'
import { platformErrors } from '#contract/errors.ts'
import { errorAnswer, pathParameters } from './schemas.ts'
import type { Route } from './route.ts'

type Json = Record<string, unknown>

export function openApiDocument(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const route of routes) {
    if (route.tag === 'hidden') continue
    ;(paths[route.path] ??= {})[route.method.toLowerCase()] = operation(route)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Skep control API', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { basic: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key.' },
        basic: { type: 'http', scheme: 'basic', description: 'Any user name; an API key as the password.' },
      },
      schemas: { Error: schemaOf(errorAnswer, 'output') },
      responses: { Error: { description: `An error; its status is that of its code: ${statuses()}.`, content: jsonContent({ $ref: '#/components/schemas/Error' }) } },
    },
  }
}

function operation(route: Route): Json {
  const responses: Json = { default: { $ref: '#/components/responses/Error' } }
  for (const [status, { description, schema, contentType }] of Object.entries(route.answers)) {
    const hasBody = schema !== undefined && route.method !== 'HEAD'
    responses[status] = { description, ...(hasBody && { content: jsonContent(schemaOf(schema, 'output'), contentType) }) }
  }
  return {
    operationId: operationId(route),
    summary: route.summary,
    tags: [route.tag],
    ...(route.access === 'public' && { security: [] }),
    ...(route.access === 'admin' && { description: 'Needs an admin key.' }),
    parameters: [...pathParametersOf(route), ...queryParametersOf(route)],
    ...(route.body !== undefined && {
      requestBody: { required: !route.body.safeParse(undefined).success, content: jsonContent(schemaOf(route.body, 'input')) },
    }),
    ...(route.rawBody !== undefined && { requestBody: { content: { [route.rawBody]: {} } } }),
    responses,
  }
}

function pathParametersOf(route: Route): Json[] {
  return [...route.path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({ name, in: 'path', required: true, schema: schemaOf(pathParameters[name!]!, 'input') }))
}

function queryParametersOf(route: Route): Json[] {
  const parameters: Json[] = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => {
    const { description, ...rest } = schemaOf(schema as z.ZodType, 'input')
    return { name, in: 'query', required: false, ...(description !== undefined && { description }), schema: rest }
  })
  if (route.namespaced) {
    const description = 'For an admin key: act in this namespace instead of the key\'s own.'
    parameters.push({ name: 'namespace', in: 'query', required: false, description, schema: schemaOf(pathParameters['name']!, 'input') })
  }
  return parameters
}

/** `GET /v1/functions/{name}/revisions` → `getFunctionsNameRevisions`. */
function operationId(route: Route): string {
  const words = route.path.split('/').filter((part) => part !== '' && part !== 'v1').flatMap((part) => part.split(/[^A-Za-z0-9]+/))
  return route.method.toLowerCase() + words.filter((word) => word !== '').map((word) => word[0]!.toUpperCase() + word.slice(1)).join('')
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io, target: 'draft-2020-12', unrepresentable: 'any' }) as Json
  return json
}

function jsonContent(schema: Json, contentType = 'application/json'): Json {
  return { [contentType]: { schema } }
}

function statuses(): string {
  const byStatus = new Map<number, string[]>()
  for (const [code, { status }] of Object.entries(platformErrors)) byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  return [...byStatus].sort(([a], [b]) => a - b).map(([status, codes]) => `${status} ${codes.join(', ')}`).join('; ')
}
