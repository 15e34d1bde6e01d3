/**
 * One route of the API: what it takes, what it answers, who may call it, and what it does.
 *
 * The schemas in it are the only description there is: the router checks input by them, handlers get their types from
 * them, openapi.ts writes the document from them, and the tests hold the answers to them.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type * as z from 'zod'
import type { Principal } from '../authentication.ts'
import type { ApiServices } from './services.ts'

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'

/** public: without a key. key: any valid key. admin: a key of that role. */
export type Access = 'public' | 'key' | 'admin'

export interface Call<Query, Body> {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly services: ApiServices
  readonly principal: Principal
  /** Where it acts: the key's namespace, or what an admin key says in `?namespace=`. */
  readonly namespace: string
  readonly params: Readonly<Record<string, string>>
  readonly query: Query
  readonly body: Body
}

/** A value for JSON; {@link nothing} for 204; {@link handled} when the handler has answered, or will, by itself. */
export type Outcome<Answer> = { readonly status: number; readonly value: Answer } | typeof nothing | typeof handled
export const nothing: { readonly answered: 'without a body' } = { answered: 'without a body' }
export const handled: { readonly answered: 'by the handler' } = { answered: 'by the handler' }

export interface RouteOptions<Query extends z.ZodObject, Body extends z.ZodType, Answer extends z.ZodType> {
  readonly method: Method
  /** With `{name}` for parameters. */
  readonly path: string
  readonly summary: string
  readonly tag: string
  readonly access: Access
  /** Whether it acts inside a namespace, and so takes `?namespace=`. */
  readonly namespaced: boolean
  readonly query?: Query
  readonly body?: Body
  /** The body goes to the handler as it is: media type for the document. */
  readonly rawBody?: string
  /** Success status and schema; without schema no body. */
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema?: Answer; readonly contentType?: string }>>
  readonly handle: (call: Call<z.output<Query>, z.output<Body>>) => Promise<Outcome<z.input<Answer>>> | Outcome<z.input<Answer>>
}

/** A route whose types have served their purpose. */
export type Route = RouteOptions<z.ZodObject, z.ZodType, z.ZodType>

/** Ties the types of schemas and handler together. */
export function route<Query extends z.ZodObject, Body extends z.ZodType, Answer extends z.ZodType>(options: RouteOptions<Query, Body, Answer>): Route {
  return options as unknown as Route
}
