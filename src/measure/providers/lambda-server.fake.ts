/**
 * A small AWS Lambda for tests: the REST shapes that the SDK speaks, functions that really run, and a bucket beside it. What Lambda refuses is refused with its error types.
 *
 * Source: AWS, Lambda API reference 2015-03-31 (CreateFunction, GetFunction, Invoke, PublishVersion, PutFunctionConcurrency, DeleteFunction); S3 API reference (PutObject, GetObject).
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { fromBufferPromise } from 'yauzl'

const PYTHON = `import json, sys, types
sys.path.insert(0, sys.argv[1])
import main
print(json.dumps(main.lambda_handler(json.loads(sys.argv[2]), types.SimpleNamespace(aws_request_id=sys.argv[3]))))`

interface Deployed {
  readonly configuration: Record<string, unknown>
  readonly directory: string
  readonly zipBytes: number
  asked: number
  invoked: number
  concurrency?: number
}

interface Outcome {
  readonly status: number
  readonly body?: unknown
  readonly bytes?: Buffer
  readonly headers?: Readonly<Record<string, string>>
}

export interface LambdaServer extends AsyncDisposable {
  readonly url: string
  readonly functions: ReadonlyMap<string, Deployed>
  readonly objects: ReadonlyMap<string, Buffer>
  /** What every further invocation is answered with. */
  fail: Outcome | undefined
}

export function refusal(status: number, type: string, message: string): Outcome {
  return { status, body: { Type: 'User', message, Message: message }, headers: { 'x-amzn-errortype': type } }
}

export async function startLambda(): Promise<LambdaServer> {
  const root = mkdtempSync(join(tmpdir(), 'skep-lambda-'))
  // The SDK is part of Lambda's runtimes.
  symlinkSync(join(import.meta.dirname, '../../../node_modules'), join(root, 'node_modules'))
  const functions = new Map<string, Deployed>()
  const objects = new Map<string, Buffer>()

  const create = async (asked: Record<string, any>): Promise<Outcome> => {
    const { FunctionName: name, Code, MemorySize, Role, Timeout } = asked
    if (!/^[\w-]{1,64}$/.test(name)) return refusal(400, 'ValidationException', 'functionName failed to satisfy constraint')
    if (functions.has(name)) return refusal(409, 'ResourceConflictException', `Function already exist: ${name}`)
    if (!(MemorySize >= 128 && MemorySize <= 10_240 && Timeout <= 900) || !/^arn:/.test(Role)) return refusal(400, 'InvalidParameterValueException', 'out of range')
    const zip = Buffer.from(Code.ZipFile, 'base64')
    if (zip.length > 50 * 1024 * 1024) return refusal(413, 'RequestEntityTooLargeException', 'Request must be smaller than 70167211 bytes for the CreateFunction operation')
    const directory = join(root, name)
    mkdirSync(directory)
    const archive = await fromBufferPromise(zip)
    for await (const entry of archive.eachEntry()) writeFileSync(join(directory, entry.fileName), await buffer(await archive.openReadStreamPromise(entry)))
    const { Code: _code, ...configuration } = asked
    functions.set(name, { configuration, directory, zipBytes: zip.length, asked: 0, invoked: 0 })
    return { status: 201, body: { ...configuration, State: 'Pending' } }
  }

  const invoke = async (one: Deployed, payload: string, tail: boolean): Promise<Outcome> => {
    if (server.fail !== undefined) return server.fail
    const requestId = crypto.randomUUID()
    const isCold = one.invoked++ === 0
    const startMs = performance.now()
    const report = (): Readonly<Record<string, string>> => {
      const text = `START RequestId: ${requestId}\nREPORT RequestId: ${requestId}\tDuration: ${(performance.now() - startMs).toFixed(2)} ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\tMax Memory Used: 60 MB\t${isCold ? 'Init Duration: 120.50 ms\t' : ''}\n`
      return tail ? { 'x-amz-log-result': Buffer.from(text).toString('base64') } : {}
    }
    try {
      const body = await run(one, payload, requestId)
      return { status: 200, body, headers: report() }
    } catch (error) {
      return { status: 200, body: { errorType: 'Error', errorMessage: String(error) }, headers: { ...report(), 'x-amz-function-error': 'Unhandled' } }
    }
  }

  const run = async ({ directory, configuration }: Deployed, payload: string, requestId: string): Promise<unknown> => {
    if (String(configuration['Runtime']).startsWith('python')) return JSON.parse((await promisify(execFile)('python3', ['-c', PYTHON, directory, payload, requestId])).stdout)
    const { handler } = (await import(pathToFileURL(join(directory, 'index.mjs')).href)) as { handler(event: unknown, context: object): Promise<unknown> }
    return handler(JSON.parse(payload), { awsRequestId: requestId })
  }

  const answer = async (request: IncomingMessage): Promise<Outcome> => {
    const { pathname } = new URL(request.url!, 'http://here')
    const body = await buffer(request)
    if (!/^AWS4-HMAC-SHA256 /.test(request.headers.authorization ?? '')) return refusal(403, 'MissingAuthenticationTokenException', 'Missing Authentication Token')
    if (pathname === '/2015-03-31/functions' && request.method === 'POST') return create(JSON.parse(body.toString()))
    const [, name = '', qualifier, rest = ''] = /^\/\d{4}-\d\d-\d\d\/functions\/([^/:]+)(?::(\d+))?(\/[\w-]+)?$/.exec(decodeURIComponent(pathname)) ?? []
    if (name === '') {
      if (request.method === 'PUT') objects.set(pathname, body)
      const bytes = objects.get(pathname)
      return bytes === undefined ? { status: 404, body: {} } : { status: 200, bytes }
    }
    const one = functions.get(name)
    if (one === undefined) return refusal(404, 'ResourceNotFoundException', `Function not found: ${name}`)
    switch (`${request.method} ${rest}`) {
      case 'GET ': return { status: 200, body: { Configuration: { ...one.configuration, State: one.asked++ === 0 && String(one.configuration['Runtime']).startsWith('python') ? 'Pending' : 'Active' } } }
      case 'POST /invocations': return one.configuration['SnapStart'] !== undefined && qualifier === undefined ? refusal(400, 'test', 'a version was published, and is not asked for') : invoke(one, body.toString(), request.headers['x-amz-log-type'] === 'Tail')
      case 'POST /versions': return { status: 201, body: { ...one.configuration, Version: '1' } }
      case 'PUT /concurrency': return { status: 200, body: { ReservedConcurrentExecutions: (one.concurrency = JSON.parse(body.toString()).ReservedConcurrentExecutions) } }
      case 'DELETE ': return functions.delete(name), rmSync(one.directory, { recursive: true }), { status: 204 }
      default: return refusal(404, 'UnknownOperationException', `${request.method} ${rest}`)
    }
  }

  const http = createServer((request, response) => {
    answer(request).then(
      ({ status, body, bytes, headers }) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(bytes ?? (body === undefined ? undefined : JSON.stringify(body))),
      (thrown: unknown) => response.writeHead(500).end(String(thrown)),
    )
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')
  const server: LambdaServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    functions, objects, fail: undefined,
    async [Symbol.asyncDispose]() {
      http.close().closeAllConnections()
      rmSync(root, { recursive: true, force: true })
    },
  }
  return server
}
