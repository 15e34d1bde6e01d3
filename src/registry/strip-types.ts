/**
 * Takes the types out of one TypeScript file when it is deployed, so that no instance does it when it starts (30 ms).
 *
 * By Node's own stripping, in a process of its own: its parser would stay in the platform's memory. Types are replaced by
 * spaces, so that lines and columns of errors stay right, and stacks name the file as it was sent. What is more than types (enum, namespace) needs the bundler of the
 * command line; what that deploys never comes here.
 */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { pathToFileURL } from 'node:url'
import { PlatformError } from '#contract/errors.ts'

const program = `
import { stripTypeScriptTypes } from 'node:module'
import { text } from 'node:stream/consumers'
let result
try { result = { text: stripTypeScriptTypes(await text(process.stdin), { mode: 'strip', sourceUrl: process.argv[1] }) } }
catch (error) { result = { message: error.message, code: error.code, place: error.stack.split('\\nSyntaxError', 1)[0] } }
process.stdout.write(JSON.stringify(result))
`

export interface SourceFile {
  readonly filename: string
  readonly text: string
}

/** @returns The file as JavaScript, or itself when it is no TypeScript. @throws CODE_INVALID when it does not parse. */
export async function stripTypes(source: SourceFile): Promise<SourceFile> {
  if (!/\.[cm]?ts$/.test(source.filename)) return source
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program, pathToFileURL(`/app/${source.filename}`).href], { stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.on('error', () => {})
  child.stdin.end(source.text)
  const printed = await text(child.stdout)
  const result = (printed === '' ? { message: 'the parser ended without a result' } : JSON.parse(printed)) as { text?: string; message?: string; code?: string; place?: string }
  if (result.text === undefined) {
    const isMore = result.code === 'ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX'
    const next = isMore ? 'Deploy it with `skep deploy`, which bundles it, or write it without.' : 'Correct it and deploy again.'
    const where = placeOf(result.place ?? '')
    throw new PlatformError('CODE_INVALID', `${source.filename}${where} ${isMore ? 'is more than JavaScript with types' : 'does not parse'}: ${String(result.message).trim()}. ${next}`)
  }
  return { filename: source.filename.replace(/ts$/, 'js'), text: result.text }
}

/** `:line:column` from what the parser shows: the file and the line's number, some lines, and a caret below the last. */
function placeOf(shown: string): string {
  const lines = shown.split('\n')
  const line = /:(\d+)$/.exec(lines[0] ?? '')?.[1]
  const caret = lines.find((text) => /^\s*\^+\s*$/.test(text))
  return line === undefined ? '' : `:${line}${caret === undefined ? '' : `:${caret.indexOf('^') + 1}`}`
}
