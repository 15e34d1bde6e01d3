/**
 * Stacks as the user wants to read them: only frames of the user's code, with paths below the code's root.
 *
 * Node maps them to the sources (source maps are on); here the runtime's own and Node's internal frames go, and the
 * code's directory is cut off.
 */
import { existsSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const runtimeDirectory = dirname(fileURLToPath(import.meta.url))
const contractDirectory = resolve(runtimeDirectory, '../../src/contract')
/** The bound on files searched for a syntax error. */
const FILES_SEARCHED_MAX = 100

export class StackTrimmer {
  readonly #root: string
  readonly #rootUrl: string

  constructor(codeDirectory: string) {
    this.#root = `${codeDirectory}/`
    this.#rootUrl = `${pathToFileURL(codeDirectory).href}/`
  }

  readonly trim = (stack: string): string => {
    const lines = stack.split('\n').filter((line) => {
      if (!/^\s+at /.test(line)) return true
      return !line.includes('(node:') && !line.includes('at node:') && !line.includes('at async node:') && !line.includes(runtimeDirectory) && !line.includes(contractDirectory) && !line.includes('(<anonymous>)')
    })
    return this.relative(lines.join('\n'))
  }

  relative(text: string): string {
    return text.replaceAll(this.#rootUrl, '').replaceAll(this.#root, '')
  }
}

/** Where a SyntaxError is: "file:line:column" below the root. Undefined when it cannot be found. */
export function locateSyntaxError(error: Error, root: string, entry: string): string | undefined {
  const place = placeOf(error.stack ?? '')
  if (place !== undefined) return relativePlace(place, root)
  // Node gives no place for a module that V8 cannot parse. Node's TypeScript parser does: ask it, file by file.
  const queue = [resolve(root, entry)]
  const seen = new Set(queue)
  for (let file = queue.shift(); file !== undefined && seen.size <= FILES_SEARCHED_MAX; file = queue.shift()) {
    const source = readFileSync(file, 'utf8')
    try {
      stripTypeScriptTypes(source)
    } catch (parseError) {
      const found = placeOf((parseError as Error).stack ?? '')
      if (found !== undefined) return relativePlace({ ...found, file }, root)
    }
    for (const [, specifier] of source.matchAll(/(?:from|import)\s*["'](\.{1,2}\/[^"'\n]+)["']/g)) {
      const next = join(dirname(file), specifier!)
      if (!seen.has(next) && existsSync(next)) {
        seen.add(next)
        queue.push(next)
      }
    }
  }
  return undefined
}

interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** Node begins such a stack with "file:line", the line, and carets below the fault. */
function placeOf(stack: string): Place | undefined {
  const lines = stack.split('\n')
  const match = /^(.*):(\d+)$/.exec(lines[0] ?? '')
  const carets = lines.slice(1, 8).find((line) => /^\s*\^+\s*$/.test(line))
  if (match === null || carets === undefined) return undefined
  const file = match[1]!.startsWith('file:') ? fileURLToPath(match[1]!) : match[1]!
  return { file, line: Number(match[2]), column: carets.indexOf('^') + 1 }
}

function relativePlace({ file, line, column }: Place, root: string): string {
  const path = relative(root, file)
  return `${path.startsWith('..') ? file : path}:${line}:${column}`
}
