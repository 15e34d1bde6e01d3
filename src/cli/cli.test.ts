/**
 * Goal: the command line does what scripts and people rely on: exit codes, JSON, help, completions, and clear words when
 * there is no platform.
 *
 * Method: the real program as a child process, without a terminal, with an empty home.
 */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { COLOR_HEADER, COLOR_LENGTH_MAX } from '#contract/color.ts'
import { everyCommand, buildProgram } from './program.ts'

const home = mkdtempSync(join(tmpdir(), 'skep-cli-'))
after(() => rmSync(home, { recursive: true, force: true }))

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function skep(args: readonly string[], options: { readonly env?: Record<string, string>; readonly input?: string } = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'main.ts'), ...args], {
      env: { PATH: process.env['PATH'] ?? '', HOME: home, NODE_COMPILE_CACHE: join(home, 'cache'), ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    child.on('close', (code) => resolve({ code, stdout, stderr }))
    child.stdin.end(options.input ?? '')
  })
}

describe('skep', () => {
  test('helps, with exit code 0', async () => {
    const { code, stdout } = await skep(['--help'])
    assert.equal(code, 0)
    assert.match(stdout, /First steps:/)
    assert.match((await skep(['deploy', '--help'])).stdout, /--timeout <ms>/)
  })

  test('refuses what it does not know with exit code 2, and says what it may have been', async () => {
    const { code, stderr } = await skep(['deplyo'])
    assert.equal(code, 2)
    assert.match(stderr, /Did you mean deploy\?/)
    assert.equal((await skep(['invoke'])).code, 2)
    assert.equal((await skep(['list', '--nonsense'])).code, 2)
  })

  test('with --json, a usage error is one JSON document on standard output', async () => {
    const { code, stdout, stderr } = await skep(['invoke', '--json'])
    assert.deepEqual([code, stderr], [2, ''])
    assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, 'USAGE')
  })

  test('says how to start a platform when there is none, with exit code 5', async () => {
    const { code, stderr } = await skep(['list'])
    assert.equal(code, 5)
    assert.match(stderr, /SERVER_UNREACHABLE: No platform is known.*skep up/)
    const refused = await skep(['list', '--json'], { env: { SKEP_URL: 'http://127.0.0.1:1', SKEP_KEY: 'k' } })
    assert.equal(refused.code, 5)
    assert.match((JSON.parse(refused.stdout) as { error: { message: string } }).error.message, /127\.0\.0\.1:1 \(ECONNREFUSED\)/)
  })

  test('checks what was typed before it asks a platform', async () => {
    const env = { SKEP_URL: 'http://127.0.0.1:1', SKEP_KEY: 'k' }
    for (const [args, words] of [
      [['invoke', 'f', '--data', '{name: 1}'], /--data is not JSON/],
      [['invoke', 'f', '--data', '1', '--file', 'x'], /exclude each other/],
      [['invoke', 'f', '--color', 'x'.repeat(COLOR_LENGTH_MAX + 1)], /at most 128 characters; this is 129 characters/],
      [['invoke', 'f', '--async', '--color', 'snow☃'], /--color has the character "☃"/],
      [['invoke', 'f', '--color', 'a\nb'], /--color has the character "\\n"/],
      [['deploy', '-'], /--name/],
      [['deploy', 'x.ts', '--kind', 'cobol'], /--kind is "cobol"/],
      [['deploy', 'x.ts', '--memory', 'much'], /--memory is "much"/],
      [['deploy', 'x.ts', '--env', 'NOVALUE'], /NAME=value/],
      [['traffic', 'f', 'half'], /REVISION=PERCENT/],
      [['logs', 'f', '--since', 'yesterday-ish'], /is no time/],
      [['list', '--url', 'nonsense'], /is not the URL/],
      [['up', '--port', '0', '--stem-cells', 'some'], /--stem-cells is "some"/],
      [['up', '--port', '0', '--callback-host', 'http://x/y'], /--callback-host is "http:\/\/x\/y"/],
      [['completions', 'tcsh'], /bash, zsh and fish/],
    ] as const) {
      const { code, stderr } = await skep(args, { env })
      assert.deepEqual([args, code], [args, 2])
      assert.match(stderr, words)
    }
  })

  test('sends a key only to the platform that it belongs to', async () => {
    const seen: (string | undefined)[] = []
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization)
      response.setHeader('content-type', 'application/json')
      response.end('{"functions":[]}')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const data = mkdtempSync(join(home, 'data-'))
    writeFileSync(join(data, 'credentials.json'), JSON.stringify({ namespace: 'default', key: 'secret-key' }))
    writeFileSync(join(data, 'server.json'), JSON.stringify({ url }))
    try {
      assert.equal((await skep(['list', '--json'], { env: { SKEP_DATA: data } })).stdout, '{"functions":[]}\n')
      await skep(['list', '--url', `${url}/other`], { env: { SKEP_DATA: data } })
      await skep(['list'], { env: { SKEP_URL: url, SKEP_KEY: 'mine', SKEP_DATA: data } })
      assert.deepEqual(seen, ['Bearer secret-key', undefined, 'Bearer mine'])
    } finally {
      server.close()
    }
  })

  test('invoke sends its colour with the request, now and later, and none when there is none', async () => {
    const seen: unknown[] = []
    const server = createServer((request, response) => {
      seen.push([new URL(request.url!, 'http://x').searchParams.get('async'), request.headers[COLOR_HEADER]])
      response.writeHead(202, { 'content-type': 'application/json', 'x-skep-invocation-id': '0'.repeat(32) })
      request.resume().on('end', () => response.end('{"id":"1"}'))
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const env = { SKEP_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, SKEP_KEY: 'k' }
    try {
      const longest = 'ü'.repeat(COLOR_LENGTH_MAX)
      for (const words of [['--color', 'user-7'], ['--async', '--color', longest], ['--color', ''], []]) {
        const { code, stderr } = await skep(['invoke', 'f', ...words], { env })
        assert.equal(code, 0, stderr)
      }
      assert.deepEqual(seen, [[null, 'user-7'], ['true', longest], [null, undefined], [null, undefined]])
    } finally {
      server.close()
    }
  })

  test('every command has --json, a description, and options that are described', () => {
    for (const command of everyCommand(buildProgram())) {
      assert.notEqual(command.description(), '', command.name())
      for (const option of command.options) assert.notEqual(option.description, '', `${command.name()} ${option.flags}`)
      if (command.commands.length === 0) assert(command.options.some((option) => option.long === '--json'), `${command.name()} has no --json`)
    }
  })
})

describe('completions', () => {
  test('know every command and its options, in each shell, and bash completes with them', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { code, stdout } = await skep(['completions', shell])
      assert.equal(code, 0)
      for (const word of ['deploy', 'rollback', 'redrive', 'idempotency-key']) assert(stdout.includes(word), `${shell}: ${word}`)
    }
    const { stdout: script } = await skep(['completions', 'bash'])
    const complete = (line: readonly string[]): string => spawnSync('bash', ['-c', `${script}\nCOMP_WORDS=(${line.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${line.length - 1}; _skep; printf '%s ' "\${COMPREPLY[@]}"`], { encoding: 'utf8' }).stdout
    assert.equal(complete(['skep', 'depl']).trim(), 'deploy')
    assert.equal(complete(['skep', 'async', 'red']).trim(), 'redrive')
    assert.match(complete(['skep', 'invoke', 'f', '--fi']), /--file/)
  })
})

describe('bench', () => {
  test('lists its scenarios, and refuses one that is not there', async () => {
    const { code, stdout } = await skep(['bench', '--list', '--json'])
    assert.equal(code, 0)
    assert(Array.isArray((JSON.parse(stdout) as { scenarios: string[] }).scenarios))
    assert.equal((await skep(['bench', 'nonsense'])).code, 2)
  })
})
