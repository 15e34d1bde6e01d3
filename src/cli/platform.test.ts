/**
 * Goal: the commands do to a real platform what they say, from `up` to its end by a signal; and `dev` follows a save.
 *
 * Method: one platform per group, started by the CLI itself as a child process on a free port with a data directory of its
 * own; every command another child process. Sandboxes are those of this machine, or none where it has none.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'

const home = mkdtempSync(join(tmpdir(), 'skep-cli-platform-'))
const data = join(home, 'data')
const children = new Set<ChildProcess>()
after(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(home, { recursive: true, force: true })
})

function start(args: readonly string[]): ChildProcess & { readonly lines: AsyncIterator<Record<string, unknown>>; readonly ended: Promise<number | null> } {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'main.ts'), ...args], {
    env: { PATH: process.env['PATH'] ?? '', HOME: home, SKEP_DATA: data, NODE_COMPILE_CACHE: join(home, 'cache') },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  children.add(child)
  child.stderr.resume()
  const ended = new Promise<number | null>((resolve) => child.on('close', (code) => {
    children.delete(child)
    resolve(code)
  }))
  return Object.assign(child, { lines: jsonLines(child), ended })
}

async function* jsonLines(child: ChildProcess): AsyncGenerator<Record<string, unknown>> {
  let rest = ''
  for await (const chunk of child.stdout!.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop()!
    for (const line of lines) yield JSON.parse(line) as Record<string, unknown>
  }
}

/** A command's exit code and its one JSON document. */
async function skep(args: readonly string[], input = ''): Promise<{ readonly code: number | null; readonly value: Record<string, unknown> }> {
  const child = start([...args, '--json'])
  child.stdin!.end(input)
  const { value } = (await child.lines.next()) as { value: Record<string, unknown> }
  return { code: await child.ended, value }
}

describe('a platform', () => {
  let platform: ReturnType<typeof start>
  let ready: Record<string, unknown>
  before(async () => {
    platform = start(['up', '--port', '0', '--data', data, '--json', '--allow-unsandboxed'])
    ready = (await platform.lines.next()).value as Record<string, unknown>
  })

  test('says in one line where it is, and clients of the same data directory find it', async () => {
    assert.deepEqual(Object.keys(ready), ['url', 'namespace', 'key', 'pid'])
    assert.equal(ready['pid'], platform.pid)
    assert.deepEqual(await skep(['list']), { code: 0, value: { functions: [] } })
  })

  test('takes a function, runs it, tells where the time went, and takes it back', async () => {
    writeFileSync(join(home, 'greet.ts'), 'export const main = (params: { name: string }) => ({ text: `one ${params.name}` })')
    const first = await skep(['deploy', join(home, 'greet.ts'), '--memory', '128', '--env', 'A=1'])
    assert.deepEqual([first.code, first.value['function'], first.value['revision'], first.value['uploaded']], [0, 'greet', 1, true])
    const again = await skep(['deploy', join(home, 'greet.ts'), '--memory', '128', '--env', 'A=1'])
    assert.deepEqual([again.value['created'], again.value['uploaded'], again.value['revision']], [false, false, 1])
    const answer = await skep(['invoke', 'greet', '--data', '{"name":"you"}'])
    assert.deepEqual([answer.code, answer.value['result'], answer.value['start']], [0, { text: 'one you' }, 'cold'])
    const record = answer.value['record'] as { id: string; runUs: number; memoryLimitMb: number }
    assert(record.runUs > 0 && record.memoryLimitMb === 128)
    assert.equal((await skep(['get', 'invocation', record.id])).value['function'], 'greet')

    writeFileSync(join(home, 'greet.ts'), 'export const main = () => ({ text: "two" })')
    assert.equal((await skep(['deploy', join(home, 'greet.ts')])).value['revision'], 2)
    assert.deepEqual((await skep(['invoke', 'greet'])).value['result'], { text: 'two' })
    assert.equal((await skep(['rollback', 'greet'])).code, 0)
    assert.deepEqual((await skep(['invoke', 'greet', '--data', '{"name":"back"}'])).value['result'], { text: 'one back' })
    assert.equal((await skep(['delete', 'greet'])).code, 0)
    assert.equal((await skep(['invoke', 'greet'])).code, 3)
  })

  test('a function that throws is exit code 1 with its own stack; what it printed is in its logs', async () => {
    const deployed = await skep(['deploy', '-', '--name', 'boom'], 'export function main() { console.log("before"); throw new Error("no such luck") }')
    assert.equal(deployed.code, 0)
    const { code, value } = await skep(['invoke', 'boom'])
    assert.deepEqual([code, (value['error'] as { code: string }).code], [1, 'FUNCTION_THREW'])
    assert.match((value['error'] as { stack: string }).stack, /no such luck[^]*index/)
    const { value: line } = await skep(['logs', 'boom'])
    assert.deepEqual([line['text'], line['invocation']], ['before', value['id']])
  })

  test('an asynchronous invocation says where its answer will be, and there it is', async () => {
    await skep(['deploy', '-', '--name', 'later'], 'export const main = async ({ ms }: { ms: number }) => { await new Promise((resolve) => setTimeout(resolve, ms)); return { ms } }')
    const { value: accepted } = await skep(['invoke', 'later', '--async', '--data', '{"ms":1500}'])
    const id = String(accepted['id'])
    assert.equal((await skep(['get', 'result', id])).code, 6)
    let result = await skep(['get', 'result', id])
    for (let time = 0; time < 50 && result.code === 6; time++) result = await skep(['get', 'result', id])
    assert.deepEqual(result, { code: 0, value: { id, status: 200, result: { ms: 1500 } } })
    assert.equal((await skep(['get', 'result', '0'.repeat(32)])).code, 3)
  })

  test('bodies go as bytes, a file and standard input alike', async () => {
    await skep(['deploy', '-', '--name', 'echo'], 'export default { fetch: (request: Request) => new Response(request.body, { headers: { "content-type": request.headers.get("content-type")! } }) }')
    const bytes = Buffer.from([0xff, 0, 1, 0xfe])
    writeFileSync(join(home, 'a.png'), bytes)
    assert.equal((await skep(['invoke', 'echo', '--file', join(home, 'a.png')])).value['resultBase64'], bytes.toString('base64'))
    assert.equal((await skep(['invoke', 'echo', '--data', '-', '--type', 'text/plain'], 'piped')).value['result'], 'piped')
  })

  test('a wrong key is exit code 4, a taken port and a data directory in use are 5', async () => {
    assert.equal((await skep(['list', '--key', 'wrong'])).code, 4)
    const taken = await skep(['up', '--port', new URL(String(ready['url'])).port, '--data', join(home, 'other'), '--allow-unsandboxed'])
    assert.deepEqual([taken.code, (taken.value['error'] as { code: string }).code], [5, 'PORT_IN_USE'])
    const used = await skep(['up', '--port', '0', '--data', data, '--allow-unsandboxed'])
    assert.deepEqual([used.code, (used.value['error'] as { code: string }).code], [5, 'DATA_LOCKED'])
    // A second platform that could not start must not have taken the first one's address away.
    assert.equal((await skep(['list'])).code, 0)
  })

  test('stops on a signal with exit code 0, and its address is withdrawn', async () => {
    platform.kill('SIGTERM')
    assert.equal(await platform.ended, 0)
    assert(!existsSync(join(data, 'server.json')))
    assert.equal((await skep(['list'])).code, 5)
  })
})

describe('dev', () => {
  test('serves a directory, follows a save, and keeps the old code when the new one does not parse', async () => {
    const directory = join(home, 'functions')
    mkdirSync(join(directory, 'lib'), { recursive: true })
    writeFileSync(join(directory, 'one.ts'), "import { text } from './lib/text.ts'\nexport const main = () => ({ text })")
    writeFileSync(join(directory, 'lib/text.ts'), "export const text = 'first'")
    const dev = start(['dev', directory, '--port', '0', '--json', '--allow-unsandboxed'])
    const until = async (event: string): Promise<Record<string, unknown>> => {
      for (let next = await dev.lines.next(); next.done !== true; next = await dev.lines.next()) if (next.value['event'] === event) return next.value
      return assert.fail(`dev ended before ${event}`)
    }
    const { functions } = (await until('ready')) as { functions: { name: string; url: string }[] }
    assert.deepEqual(functions.map((one) => one.name), ['one'])
    const call = async (): Promise<string> => (await fetch(functions[0]!.url)).text()
    assert.match(await call(), /first/)

    writeFileSync(join(directory, 'lib/text.ts'), "export const text = 'second'")
    await until('deployed')
    assert.match(await call(), /second/)

    writeFileSync(join(directory, 'lib/text.ts'), 'export const text = ;')
    const { error } = (await until('error')) as { error: { details: { file: string; line: number } } }
    assert.deepEqual([error.details.file, error.details.line], ['lib/text.ts', 1])
    assert.match(await call(), /second/)

    writeFileSync(join(directory, 'lib/text.ts'), "export const text = 'third'")
    await until('deployed')
    assert.match(await call(), /third/)
    dev.kill('SIGINT')
    assert.equal(await dev.ended, 0)
  })
})
