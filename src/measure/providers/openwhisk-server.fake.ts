/**
 * A small OpenWhisk for tests: what the provider asks of its API, held to the contract, with actions that really run, each in a process as in a container.
 *
 * Source: apache/openwhisk at 1fae641a2 (actions of the REST API), openwhisk-runtime-nodejs at d7baea7 and the ActionLoop for Python: how a zip is loaded. A request that the real one
 * refuses is refused with its words; one that it would not expect from this client at all is kept in `surprises`.
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { buffer } from 'node:stream/consumers'
import { fromBufferPromise } from 'yauzl'

export const AUTH = '23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP'
const MB = 1024 * 1024
const NAME = /^(?:\w|\w[\w@ .&-]{0,254}[\w@.&-])$/

const NODE = `const main = require(process.argv[1]).main
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
  const { value, env } = JSON.parse(line)
  Object.assign(process.env, env)
  const result = await main(value).catch((error) => ({ error: String(error) }))
  process.stdout.write(JSON.stringify(result) + '\\n')
})`
const PYTHON = `import importlib.util, json, os, sys
directory = sys.argv[1]
sys.path.insert(0, directory)
spec = importlib.util.spec_from_file_location('main__', directory + '/__main__.py')
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.update(asked['env'])
    try:
        result = module.main(asked['value'])
    except Exception as error:
        result = {'error': repr(error)}
    print(json.dumps(result), flush=True)`

interface Action {
  readonly directory: string
  readonly kind: string
  readonly limits: { readonly memory: number; readonly timeout: number }
  readonly idle: ChildProcess[]
}

interface Outcome {
  readonly status: number
  readonly body: unknown
  readonly headers?: Readonly<Record<string, string>>
}

export interface OpenWhiskServer extends AsyncDisposable {
  readonly url: string
  readonly actions: ReadonlyMap<string, Action>
  readonly surprises: readonly string[]
  /** What every further invocation is answered with, until it is undefined again. */
  fail: Outcome | undefined
}

export async function startOpenWhisk(): Promise<OpenWhiskServer> {
  const root = mkdtempSync(join(tmpdir(), 'skep-openwhisk-'))
  const actions = new Map<string, Action>()
  const surprises: string[] = []
  const processes = new Set<ChildProcess>()
  let made = 0

  const answer = async (request: IncomingMessage): Promise<Outcome> => {
    const { pathname, searchParams } = new URL(request.url!, 'http://here')
    if (pathname === '/') return { status: 200, body: { description: 'OpenWhisk', limits: { min_action_memory: 128 * MB, max_action_memory: 512 * MB, max_action_duration: 300_000 } } }
    if (request.headers.authorization === undefined) return error(401, 'The resource requires authentication, which was not supplied with the request')
    if (request.headers.authorization !== `Basic ${Buffer.from(AUTH).toString('base64')}`) return error(401, 'The supplied authentication is invalid')
    if (pathname === '/api/v1/namespaces') return { status: 200, body: ['guest'] }
    const name = decodeURIComponent(/^\/api\/v1\/namespaces\/_\/actions\/([^/]+)$/.exec(pathname)?.[1] ?? '')
    if (name === '') return error(404, 'The requested resource could not be found.')
    if (!NAME.test(name)) return error(400, 'The name of the entity contains illegal characters.')
    const body = await buffer(request)
    if (request.method === 'PUT') return put(name, body, searchParams.get('overwrite') === 'true')
    const action = actions.get(name)
    if (action === undefined) return error(404, 'The requested resource does not exist.')
    if (request.method === 'DELETE') {
      actions.delete(name)
      for (const child of action.idle) child.kill('SIGKILL')
      return { status: 200, body: { namespace: 'guest', name, version: '0.0.1' } }
    }
    if (request.method !== 'POST') return error(405, 'HTTP method not allowed, supported methods: GET, DELETE, POST, PUT')
    if (searchParams.get('blocking') !== 'true') surprises.push(`${request.url} is not blocking`)
    if (!/^application\/json/.test(request.headers['content-type'] ?? '')) surprises.push(`${request.url} is ${request.headers['content-type']}`)
    if (body.length > MB) return error(413, `Request larger than allowed: ${body.length} > 1048576 bytes.`)
    if (server.fail !== undefined) return server.fail
    return invoke(name, action, JSON.parse(body.toString()) as object, searchParams.get('result') === 'true')
  }

  const put = async (name: string, body: Buffer, overwrite: boolean): Promise<Outcome> => {
    if (actions.has(name) && !overwrite) return error(409, 'resource already exists')
    const { exec, limits, annotations } = JSON.parse(body.toString()) as { exec?: { kind: string; code: string }; limits: { memory: number; timeout: number }; annotations: unknown }
    if (exec === undefined) return error(400, 'exec undefined')
    if (!/^(?:nodejs|python):/.test(exec.kind)) return error(400, `The specified runtime '${exec.kind}' is not supported by this platform.`)
    if (!Array.isArray(annotations)) return error(400, 'The request content was malformed:\nannotations malformed!')
    if (limits.memory > 512) return error(400, `requirement failed: memory size ${limits.memory} MB exceeds allowed threshold of 512 MB`)
    if (limits.timeout > 300_000) return error(400, `requirement failed: timeout ${limits.timeout} exceeds allowed threshold`)
    if (exec.code.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(exec.code)) surprises.push(`${name}: the code is no base64, and so no zip`)
    const directory = join(root, String(made++))
    const zip = await fromBufferPromise(Buffer.from(exec.code, 'base64'))
    for await (const entry of zip.eachEntry()) {
      mkdirSync(dirname(join(directory, entry.fileName)), { recursive: true })
      writeFileSync(join(directory, entry.fileName), await buffer(await zip.openReadStreamPromise(entry)))
    }
    actions.set(name, { directory, kind: exec.kind, limits, idle: [] })
    return { status: 200, body: { namespace: 'guest', name, version: '0.0.1', exec: { kind: exec.kind, binary: true }, limits } }
  }

  const invoke = async (name: string, action: Action, value: object, resultOnly: boolean): Promise<Outcome> => {
    const activationId = crypto.randomUUID().replaceAll('-', '')
    const startMs = performance.now()
    const reused = action.idle.pop()
    const child = reused ?? start(action)
    const initMs = performance.now() - startMs
    const line = createInterface({ input: child.stdout! })
    child.stdin!.write(`${JSON.stringify({ value, env: { __OW_ACTIVATION_ID: activationId, __OW_API_HOST: server.url, __OW_API_KEY: AUTH } })}\n`)
    const [text] = (await Promise.race([once(line, 'line'), once(child, 'exit').then(() => ['{"error":"The action did not produce a valid response and exited unexpectedly."}'])])) as [string]
    line.close()
    if (actions.get(name) === action) action.idle.push(child)
    else child.kill('SIGKILL')
    const result = JSON.parse(text) as object
    const success = !('error' in result)
    const annotations = [{ key: 'path', value: `guest/${name}` }, { key: 'kind', value: action.kind }, { key: 'waitTime', value: 3 }, ...(reused === undefined ? [{ key: 'initTime', value: Math.ceil(initMs) }] : [])]
    const record = { namespace: 'guest', name, activationId, start: Date.now(), duration: Math.ceil(performance.now() - startMs), annotations, logs: [], response: { status: success ? 'success' : 'application error', success, result } }
    return { status: success ? 200 : 502, body: resultOnly ? result : record, headers: { 'x-openwhisk-activation-id': activationId } }
  }

  const start = ({ directory, kind }: Action): ChildProcess => {
    const [command, args] = kind.startsWith('nodejs') ? [process.execPath, ['-e', NODE, directory]] : ['python3', ['-c', PYTHON, directory]]
    const child = spawn(command as string, args as string[], { stdio: ['pipe', 'pipe', 'inherit'] })
    processes.add(child)
    return child
  }

  const http = createServer((request, response) => {
    answer(request).then(
      ({ status, body, headers }) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body)),
      (thrown: unknown) => response.writeHead(500).end(JSON.stringify({ error: String(thrown), code: 'test' })),
    )
  }).listen(0, '127.0.0.1')
  await once(http, 'listening')

  const server: OpenWhiskServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    actions, surprises, fail: undefined,
    async [Symbol.asyncDispose]() {
      http.close().closeAllConnections()
      await Promise.all([...processes].filter((child) => child.exitCode === null && child.signalCode === null).map((child) => {
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        return exited
      }))
      rmSync(root, { recursive: true, force: true })
    },
  }
  return server
}

/** Every error of the API has this shape. */
function error(status: number, message: string): Outcome {
  return { status, body: { error: message, code: crypto.randomUUID() } }
}
