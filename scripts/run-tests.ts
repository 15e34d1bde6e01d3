/**
 * Runs everything that says whether the tree is sound: the type checker, tidy, and every test file in a process of its own.
 *
 * node:test does the work; this chooses the files, shows one line per file, keeps what a failing file printed, and counts.
 * The type checker and tidy count as one check each, so that the closing line covers them.
 */
import { spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import type { EventData } from 'node:test'
import { tidy } from './tidy.ts'

export interface RunOptions {
  /** Root of the checkout. */
  readonly root: string
  /** Only files whose path contains one of these; the other checks are then left out. Empty: everything. */
  readonly filters: readonly string[]
  /** Also *.soak.ts: minutes, not seconds. */
  readonly soak: boolean
  /** Files at once. */
  readonly concurrency: number
  readonly write: (text: string) => void
}

export interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
}

const testFolders = ['src', 'runtimes', 'clients', 'test', 'scripts', 'bench', 'examples']
/** A file that takes longer hangs: it holds a process, a port or a timer. */
const FILE_MS_MAX = 5 * 60_000
const SOAK_MS_MAX = 60 * 60_000
/** What is kept of a file's output, to be shown if it fails. */
const OUTPUT_CHARACTERS_MAX = 20_000

export async function runTests(options: RunOptions): Promise<Counts> {
  const startedMs = performance.now()
  const checks = options.filters.length > 0 ? [] : await Promise.all([checkTypes(options), checkTidy(options)])
  const files = findTests(options.root, options.soak).filter((file) => options.filters.length === 0 || options.filters.some((filter) => relative(options.root, file).includes(filter)))
  const tests = files.length === 0 ? { passed: 0, failed: 0, skipped: 0 } : await runFiles(options, files)
  if (files.length === 0) options.write(`no test file ${options.filters.length > 0 ? `contains ${options.filters.join(' or ')} in its path` : 'found'}\n`)
  const failedChecks = checks.filter((ok) => !ok).length + (files.length === 0 ? 1 : 0)
  options.write(`${files.length} files in ${((performance.now() - startedMs) / 1000).toFixed(1)} s\n`)
  return { passed: tests.passed + checks.filter((ok) => ok).length, failed: tests.failed + failedChecks, skipped: tests.skipped }
}

export function findTests(root: string, soak: boolean): string[] {
  const found: string[] = []
  const visit = (directory: string): void => {
    for (const item of readdirSync(directory, { withFileTypes: true })) {
      if (item.isDirectory() && item.name !== 'node_modules') visit(join(directory, item.name))
      else if (item.name.endsWith('.test.ts') || (soak && item.name.endsWith('.soak.ts'))) found.push(join(directory, item.name))
    }
  }
  for (const folder of testFolders) if (existsSync(join(root, folder))) visit(join(root, folder))
  return found.sort()
}

async function checkTypes(options: RunOptions): Promise<boolean> {
  const startedMs = performance.now()
  const { code, output } = await capture(process.execPath, [join(options.root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', options.root, '--pretty', 'false'], options.root)
  report(options, code === 0, 'types (tsc)', startedMs)
  if (code !== 0) options.write(`${output}\n`)
  return code === 0
}

async function checkTidy(options: RunOptions): Promise<boolean> {
  const startedMs = performance.now()
  const problems = tidy(options.root)
  report(options, problems.length === 0, 'tidy', startedMs)
  for (const { path, line, message } of problems) options.write(`${path}:${line}: ${message}\n`)
  return problems.length === 0
}

async function runFiles(options: RunOptions, files: readonly string[]): Promise<Counts> {
  const counts = { passed: 0, failed: 0, skipped: 0 }
  const outputs = new Map<string, string>()
  const failures = new Map<string, string[]>()
  const stream = run({ files, concurrency: options.concurrency, cwd: options.root, timeout: options.soak ? SOAK_MS_MAX : FILE_MS_MAX, isolation: 'process' })
  const keep = ({ file, message }: { readonly file?: string; readonly message: string }): void => {
    if (file !== undefined) outputs.set(file, ((outputs.get(file) ?? '') + message).slice(-OUTPUT_CHARACTERS_MAX))
  }
  stream.on('test:stdout', keep)
  stream.on('test:stderr', keep)
  stream.on('test:fail', (event) => {
    const file = event.file ?? event.name
    // A suite fails because a test in it does: that one is told.
    if ((event.details.error as { failureType?: string }).failureType !== 'subtestsFailed') failures.set(file, [...(failures.get(file) ?? []), failureText(event)])
  })
  stream.on('test:summary', (event) => {
    if (event.file === undefined) return
    const { tests, passed, skipped, todo } = event.counts
    // Failed, or cancelled because the file or its suite ended first.
    const failed = tests - passed - skipped - todo
    counts.passed += passed
    counts.failed += failed
    counts.skipped += skipped + todo
    const ok = event.success && failures.get(event.file) === undefined
    // A file may fail outside of any test: when it cannot be loaded, or does not end.
    if (!ok && failed === 0) counts.failed++
    options.write(`${ok ? 'ok    ' : 'FAILED'} ${relative(options.root, event.file)}  ${passed + failed} tests${skipped + todo > 0 ? `, ${skipped + todo} skipped` : ''}, ${Math.round(event.duration_ms)} ms\n`)
    if (!ok) options.write(`${(failures.get(event.file) ?? []).join('\n')}\n${outputs.get(event.file) ?? ''}`)
    outputs.delete(event.file)
    failures.delete(event.file)
  })
  // The stream ends when it is read to its end.
  for await (const _event of stream);
  for (const [file, texts] of failures) {
    counts.failed++
    options.write(`FAILED ${relative(options.root, file)}\n${texts.join('\n')}\n${outputs.get(file) ?? ''}`)
  }
  return counts
}

function failureText(event: EventData.TestFail): string {
  const error = event.details.error as Error & { cause?: unknown }
  const cause = error.cause instanceof Error ? error.cause : error
  return `  ✖ ${event.name}\n${String(cause.stack ?? cause.message).replaceAll(/^/gm, '    ')}`
}

function report(options: RunOptions, ok: boolean, name: string, startedMs: number): void {
  options.write(`${ok ? 'ok    ' : 'FAILED'} ${name}  ${Math.round(performance.now() - startedMs)} ms\n`)
}

function capture(program: string, args: readonly string[], cwd: string): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text })
    child.on('error', (error) => resolve({ code: -1, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? -1, output: output.trim() }))
  })
}
