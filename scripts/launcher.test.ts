/**
 * Goal: `./skep` installs once, when it has to, and otherwise gets out of the way (its L1 to L3).
 *
 * Method: a copy of the launcher in a small checkout of its own, with a program that prints what it was given, and an `npm`
 * that notes that it ran. Only Node is real.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'

let home: string
let root: string

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'skep-launcher-'))
  root = join(home, 'a checkout')
  for (const directory of ['src/cli', 'bin']) mkdirSync(join(root, directory), { recursive: true })
  copyFileSync(join(import.meta.dirname, '..', 'skep'), join(root, 'skep'))
  writeFileSync(join(root, 'package-lock.json'), '{}')
  writeFileSync(join(root, 'src/cli/main.ts'), 'console.log(JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(), cache: process.env.NODE_COMPILE_CACHE }))\nprocess.exitCode = Number(process.env.CODE ?? 0)\n')
  program('node', `exec '${process.execPath}' "$@"`)
  program('npm', `echo "$PWD $*" >> '${join(home, 'npm.log')}'\nsleep 0.2\nmkdir -p node_modules\nexit "\${NPM_CODE:-0}"`)
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

function program(name: string, text: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(root, 'bin', name), 0o755)
}

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

function launch(args: readonly string[], options: { readonly as?: string; readonly cwd?: string; readonly env?: Record<string, string> } = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(options.as ?? join(root, 'skep'), args, { cwd: options.cwd ?? home, env: { PATH: `${join(root, 'bin')}:/usr/bin:/bin`, HOME: home, ...options.env } })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

const npmRuns = (): string[] => (existsSync(join(home, 'npm.log')) ? readFileSync(join(home, 'npm.log'), 'utf8').trim().split('\n') : [])

describe('the launcher', () => {
  test('installs on the first run, in one line on standard error, and not again', async () => {
    const first = await launch(['list', '--json'])
    assert.equal(first.code, 0, first.stderr)
    assert.match(first.stderr, /^skep: installing the packages \(npm ci --omit=dev\)\n$/)
    const second = await launch(['list', 'a b', ''])
    assert.deepEqual([second.stderr, npmRuns().length], ['', 1])
    const { args, cwd, cache } = JSON.parse(second.stdout) as { args: string[]; cwd: string; cache: string }
    assert.deepEqual([args, cwd, cache], [['list', 'a b', ''], home, join(root, '.skep/compile-cache')])
  })

  test('installs everything for the tests, and that serves the rest as well', async () => {
    await launch(['test'])
    await launch(['list'])
    assert.equal(npmRuns().length, 1)
    assert(!npmRuns()[0]!.includes('--omit=dev'))
  })

  test('installs again when the lock file has changed, not when only its time has', async () => {
    await launch(['list'])
    const later = new Date(Date.now() + 60_000)
    utimesSync(join(root, 'package-lock.json'), later, later)
    await launch(['list'])
    assert.equal(npmRuns().length, 1)
    writeFileSync(join(root, 'package-lock.json'), '{"new": 1}')
    utimesSync(join(root, 'package-lock.json'), new Date(Date.now() + 120_000), new Date(Date.now() + 120_000))
    await launch(['list'])
    assert.equal(npmRuns().length, 2)
  })

  test('several at once install once (L1)', async () => {
    const ends = await Promise.all([1, 2, 3, 4].map(() => launch(['list'])))
    assert.deepEqual(ends.map((end) => end.code), [0, 0, 0, 0])
    assert.equal(npmRuns().length, 1)
  })

  test('takes over the lock of a process that died (L1)', async () => {
    mkdirSync(join(root, '.skep/install.lock'), { recursive: true })
    // No process has the largest number that a 32-bit pid can have.
    writeFileSync(join(root, '.skep/install.lock/pid'), '2147483647')
    assert.equal((await launch(['list'])).code, 0)
    assert(!existsSync(join(root, '.skep/install.lock')))
  })

  test('says what to do when npm fails, with exit code 5, and tries again the next time (L2)', async () => {
    const failed = await launch(['list'], { env: { NPM_CODE: '1' } })
    assert.equal(failed.code, 5)
    assert.match(failed.stderr, /npm ci failed.*install\.log.*run this again/)
    assert.equal((await launch(['list'])).code, 0)
    assert.equal(npmRuns().length, 2)
  })

  test('installs the packages of the benchmarks for bench, and to measure workerd', async () => {
    mkdirSync(join(root, 'bench/baselines'), { recursive: true })
    writeFileSync(join(root, 'bench/baselines/package-lock.json'), '{}')
    await launch(['list'])
    assert.equal(npmRuns().length, 1)
    await launch(['measure', 'run', 'file.json'])
    assert.equal(npmRuns().length, 1)
    await launch(['bench', 'warm'])
    assert(npmRuns().at(-1)!.startsWith(join(root, 'bench/baselines')))
    rmSync(join(root, 'bench/baselines/node_modules'), { recursive: true, force: true })
    await launch(['measure', 'run', 'file.json', '--provider', 'skep,workerd'])
    assert.equal(npmRuns().length, 3)
  })

  test('is found through symbolic links, from any directory, and hands on the exit code (L3)', async () => {
    symlinkSync(join(root, 'skep'), join(home, 'one'))
    symlinkSync('one', join(home, 'two'))
    const ended = await launch(['list'], { as: join(home, 'two'), cwd: '/', env: { CODE: '7' } })
    assert.equal(ended.code, 7)
    assert.equal((JSON.parse(ended.stdout) as { cwd: string }).cwd, '/')
  })
})
