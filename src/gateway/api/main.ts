/**
 * The native control API under /v1: finds the route, lets in who may, checks what they sent, and answers.
 *
 * Invariants:
 *   P1. Every request gets one answer, errors in the shape of answer.ts; nothing that a client sends throws out of `handle`.
 *   P2. Nothing but the key is looked at before the key is checked, except for public routes; no input reaches a handler
 *       unchecked.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import makeRouter from 'find-my-way'
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { functionName } from '#contract/function-config.ts'
import { namespaceFor } from '../authentication.ts'
import type { Principal } from '../authentication.ts'
import { discardBody, sendError, sendJson, sendNothing } from './answer.ts'
import { readJson } from './body.ts'
import { checkInput, checkName } from './input.ts'
import { openApiDocument } from './openapi.ts'
import { route } from './route.ts'
import type { Method, Route } from './route.ts'
import { aboutRoutes } from './routes/about.ts'
import { codeRoutes } from './routes/code.ts'
import { functionRoutes } from './routes/functions.ts'
import { invocationRoutes } from './routes/invocations.ts'
import { mustBeAdmin, namespaceRoutes } from './routes/namespaces.ts'
import { s3Routes } from './routes/s3.ts'
import { secretRoutes } from './routes/secrets.ts'
import { snapshotRoutes } from './routes/snapshots.ts'
import { pathParameters } from './schemas.ts'
import type { ApiServices } from './services.ts'

export interface Api {
  /** Answers one request whose path begins with /v1. Never throws. */
  handle(request: IncomingMessage, response: ServerResponse): void
  /** Every route, for documents and tests. */
  readonly routes: readonly Route[]
}

const METHODS: readonly Method[] = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE']
/** What stands for a caller in a public route. */
const NOBODY: Principal = { namespace: '', keyId: '', role: 'namespace' }
const NO_QUERY = z.strictObject({})

export function createApi(services: ApiServices): Api {
  const routes: Route[] = [...functionRoutes, ...codeRoutes, ...invocationRoutes, ...namespaceRoutes, ...secretRoutes, ...s3Routes, ...snapshotRoutes, ...aboutRoutes]
  routes.push(openApiRoute(routes, services.version))

  const router = makeRouter({
    // Names of any length must reach the check that says what is wrong with them.
    maxParamLength: 16_384,
    defaultRoute: (request, response) => sendFailure(services, request, response, noRoute(router, request), allowed(router, request)),
    onBadUrl(path, request, response) {
      const shown = JSON.stringify(path.slice(0, 80))
      sendFailure(services, request, response, new PlatformError('NAME_INVALID', `The path ${shown} has a broken percent escape; encode names with encodeURIComponent.`))
    },
  })
  for (const each of routes) {
    router.on(each.method, each.path.replace(/\{(\w+)\}/g, ':$1'), (request, response, params, _store, query) => {
      answer(each, services, request, response, params, query).catch((error: unknown) => sendFailure(services, request, response, error))
    })
  }
  return {
    routes,
    handle(request, response) {
      try {
        router.lookup(request, response)
      } catch (error) {
        sendFailure(services, request, response, error)
      }
    },
  }
}

async function answer(
  route: Route,
  services: ApiServices,
  request: IncomingMessage,
  response: ServerResponse,
  rawParams: Readonly<Record<string, string | undefined>>,
  rawQuery: Readonly<Record<string, unknown>>,
): Promise<void> {
  const principal = route.access === 'public' ? NOBODY : services.authenticator.authenticate(request.headers.authorization)
  if (route.access === 'admin') mustBeAdmin(principal.role, `use ${route.method} ${route.path}`)

  const { namespace: wanted, ...ownQuery } = rawQuery
  const namespace = route.namespaced ? namespaceOf(services, principal, wanted) : principal.namespace
  const query = checkInput(route.query ?? NO_QUERY, route.namespaced ? ownQuery : { ...rawQuery }, 'query')
  const params = checkParams(rawParams, namespacesPath(route))
  const body = route.body === undefined ? undefined : checkInput(route.body, await readJson(request), 'body')

  const outcome = await route.handle({ request, response, services, principal, namespace, params, query, body })
  if ('status' in outcome) sendJson(response, outcome.status, outcome.value)
  else if (outcome.answered === 'without a body') sendNothing(response)
}

function namespaceOf(services: ApiServices, principal: Principal, wanted: unknown): string {
  const name = wanted === undefined ? undefined : checkName(functionName, String(wanted), 'namespace')
  // A namespace that the key has no right to is refused whether it exists or not.
  return services.namespaces.required(namespaceFor(principal, name)).name
}

function checkParams(raw: Readonly<Record<string, string | undefined>>, nameOf: string): Record<string, string> {
  const params: Record<string, string> = {}
  for (const [name, value = ''] of Object.entries(raw)) {
    const schema = pathParameters[name]
    if (schema === undefined) params[name] = value
    else if (name === 'name' || name === 'secret') params[name] = checkName(schema, value, name === 'secret' ? 'secret' : nameOf)
    else params[name] = checkInput(schema, value, `${name} in the path`)
  }
  return params
}

function namespacesPath(route: Route): string {
  return route.path.startsWith('/v1/namespaces') ? 'namespace' : 'function'
}

function sendFailure(
  services: ApiServices,
  request: IncomingMessage,
  response: ServerResponse,
  thrown: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const error = PlatformError.from(thrown)
  if (error.code === 'INTERNAL') services.onInternalError(thrown, request)
  if (!request.complete && !request.destroyed) discardBody(request)
  sendError(response, error, headers)
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]!
}

type Router = ReturnType<typeof makeRouter>

function methodsAt(router: Router, path: string): Method[] {
  return METHODS.filter((method) => router.find(method, path) !== null)
}

function noRoute(router: Router, request: IncomingMessage): PlatformError {
  const path = pathOf(request)
  const methods = methodsAt(router, path)
  const shown = JSON.stringify(path.length > 120 ? `${path.slice(0, 120)}…` : path)
  if (methods.length > 0) return new PlatformError('METHOD_NOT_ALLOWED', `${request.method} is not possible at ${shown}; possible: ${methods.join(', ')}.`, { details: { allowed: methods } })
  return new PlatformError('ROUTE_NOT_FOUND', `There is nothing at ${shown}; GET /v1/openapi.json lists what there is.`)
}

function allowed(router: Router, request: IncomingMessage): Record<string, string> {
  const methods = methodsAt(router, pathOf(request))
  return methods.length > 0 ? { allow: methods.join(', ') } : {}
}

function openApiRoute(routes: readonly Route[], version: string): Route {
  let document: Record<string, unknown> | undefined
  const own: Route = route({
    method: 'GET',
    path: '/v1/openapi.json',
    summary: 'This document',
    tag: 'about',
    access: 'public',
    namespaced: false,
    answers: { 200: { description: 'OpenAPI 3.1.', schema: z.looseObject({}) } },
    // Written when first asked for: it takes some ms that no start should wait for.
    handle: () => ({ status: 200, value: (document ??= openApiDocument(routes, version)) }),
  })
  return own
}
