/**
 * Finds syntax errors in Python files before they are deployed, by the Python that is installed here.
 *
 * Without a Python, or with a broken one, nothing is checked: the function's start will tell.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { PlatformError } from '#contract/errors.ts'
import type { SourceFiles } from './source-files.ts'

const CHECKER = `
import ast, json, sys
for path, text in json.load(sys.stdin).items():
    try:
        ast.parse(text, path)
    except SyntaxError as error:
        print(json.dumps({"file": path, "line": error.lineno or 0, "column": error.offset or 0, "message": error.msg, "text": (error.text or "").rstrip()}))
        break
`

/** What a check may take: a deploy must not hang on a Python that does. */
const CHECK_MS_MAX = 5000

interface Finding {
  readonly file: string
  readonly line: number
  readonly column: number
  readonly message: string
  readonly text: string
}

/** @throws CODE_INVALID with file, line, column and the line itself. */
export async function checkPython(files: SourceFiles): Promise<void> {
  const texts = Object.fromEntries([...files].filter(([path]) => path.endsWith('.py')).slice(0, 500).map(([path, file]) => [path, file.bytes.toString('utf8')]))
  const answer = await askPython(JSON.stringify(texts))
  if (answer === '') return
  const { file, line, column, message, text } = JSON.parse(answer) as Finding
  const frame = `${line}: ${text}\n${' '.repeat(`${line}: `.length + Math.max(0, column - 1))}^`
  throw new PlatformError('CODE_INVALID', `${file}:${line}:${column}: ${message}.\n${frame}`, { details: { file, line, column, frame } })
}

function askPython(input: string): Promise<string> {
  // The system's own first: a version manager's shim costs a shell script per start.
  const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3'
  return new Promise((resolve) => {
    const child = spawn(python, ['-I', '-S', '-c', CHECKER], { stdio: ['pipe', 'pipe', 'ignore'], timeout: CHECK_MS_MAX })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { output += text })
    child.stdin.on('error', () => {})
    child.on('error', () => resolve(''))
    child.on('close', (code) => resolve(code === 0 ? output.trim() : ''))
    child.stdin.end(input)
  })
}
