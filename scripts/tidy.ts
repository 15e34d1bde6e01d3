/**
 * Tests the source tree itself, as the compiler cannot: who imports whom, cycles, length, headers, dead files, links of
 * the documents, and words. Quick enough to run before every commit; run alone, it prints one line per problem.
 *
 * The idea is TigerBeetle's (src/tidy.zig): what a review would have to say again and again, a test says once.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { arrows, everyone, forbidden, LINES_MAX, outsideArrows, words } from './tidy-rules.ts'
import { folderOf, importsOf, isTestFile, lineOf, linkTarget, readTree } from './source-tree.ts'
import type { Import, TextFile } from './source-tree.ts'

export interface Problem {
  readonly path: string
  readonly line: number
  readonly message: string
}

export function tidy(root: string): Problem[] {
  const files = readTree(root)
  const imports = files.flatMap(importsOf)
  return [
    ...imports.flatMap(checkArrow),
    ...checkCycles(imports),
    ...checkDead(files, imports),
    ...files.flatMap((file) => [...checkLength(file), ...checkHeader(file), ...checkLinks(root, file), ...checkText(file), ...checkGlossary(file)]),
  ].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line))
}

function checkArrow(one: Import): Problem[] {
  const from = folderOf(one.from)
  if (from === undefined || isTestFile(one.from)) return []
  const to = folderOf(one.to)
  const allowed = arrows[from]
  if (allowed === undefined) return [{ path: one.from, line: 1, message: `src/${from} is not in the table of arrows (scripts/tidy-rules.ts): say what it may import` }]
  if (to === undefined) return outsideArrows.some((arrow) => arrow.from === from && one.to.startsWith(arrow.to)) ? [] : [{ path: one.from, line: one.line, message: `imports ${one.to}, outside of src` }]
  if (to === from || (everyone.includes(to) && !everyone.includes(from)) || (from === 'base' && to === 'contract') || allowed.includes(to)) return []
  return [{ path: one.from, line: one.line, message: `src/${from} may not import src/${to} (scripts/tidy-rules.ts): move what is shared to contract or base, or hand it in` }]
}

/** Each cycle once, told from the file that comes first by name. */
function checkCycles(imports: readonly Import[]): Problem[] {
  const edges = new Map<string, Import[]>()
  for (const one of imports) if (!one.typeOnly && one.from !== one.to) edges.set(one.from, [...(edges.get(one.from) ?? []), one])
  const problems: Problem[] = []
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): void => {
    const start = path.indexOf(file)
    if (start >= 0) {
      const cycle = path.slice(start)
      problems.push({ path: cycle[0]!, line: edges.get(cycle[0]!)?.find((one) => one.to === (cycle[1] ?? file))?.line ?? 1, message: `imports itself: ${[...cycle, file].join(' → ')}` })
      return
    }
    if (done.has(file)) return
    path.push(file)
    for (const one of edges.get(file) ?? []) visit(one.to)
    path.pop()
    done.add(file)
  }
  for (const file of [...edges.keys()].sort()) visit(file)
  return problems
}

/** A source file whose name nobody says, neither in an import nor in a path. */
function checkDead(files: readonly TextFile[], imports: readonly Import[]): Problem[] {
  const imported = new Set(imports.map((one) => one.to))
  return files.flatMap((file) => {
    if (!file.path.startsWith('src/') || !file.path.endsWith('.ts') || /\.(?:test|soak)\.ts$|\/main\.ts$/.test(file.path) || imported.has(file.path)) return []
    const name = file.path.split('/').at(-1)!
    const named = files.some((other) => other !== file && !other.path.endsWith('.md') && other.text.includes(name))
    return named ? [] : [{ path: file.path, line: 1, message: 'nothing uses this file' }]
  })
}

function checkLength(file: TextFile): Problem[] {
  const lines = file.text.split('\n').length
  if (lines <= LINES_MAX || !/\.(?:ts|py|cc?|h|sh)$/.test(file.path)) return []
  return [{ path: file.path, line: LINES_MAX, message: `${lines} lines, at most ${LINES_MAX}: it does more than one thing` }]
}

function checkHeader(file: TextFile): Problem[] {
  // Functions that tests and examples deploy are what users write, in any style.
  if (file.path.startsWith('test/functions/') || file.text.trim() === '') return []
  const code = file.text.replace(/^#!.*\n/, '')
  const ok = file.path.endsWith('.ts') ? /^\s*\/(?:\*\*|\/)/.test(code) : file.path.endsWith('.py') ? /^\s*(?:#|r?""")/.test(code) : true
  return ok ? [] : [{ path: file.path, line: 1, message: 'no header comment: what is it for, and why so?' }]
}

function checkLinks(root: string, file: TextFile): Problem[] {
  if (!file.path.endsWith('.md')) return []
  const text = file.text.replaceAll(/```[^]*?```|`[^`\n]*`/g, (code) => code.replaceAll(/[^\n]/g, ' '))
  return [...text.matchAll(/\]\(([^)\s]+)[^)]*\)/g)].flatMap((match) => {
    const link = match[1]!
    if (/^(?:[a-z]+:|#)/i.test(link)) return []
    return existsSync(join(root, linkTarget(file.path, link))) ? [] : [{ path: file.path, line: lineOf(text, match.index), message: `the link to ${link} leads nowhere` }]
  })
}

function checkText(file: TextFile): Problem[] {
  // These files and their test have to name what they forbid.
  if (/^scripts\/(?:tidy|tidy-rules|tidy\.test)\.ts$/.test(file.path)) return []
  const found: Problem[] = []
  for (const { pattern, why, except } of forbidden) {
    const match = except?.test(file.path) === true ? null : pattern.exec(file.text)
    if (match !== null) found.push({ path: file.path, line: lineOf(file.text, match.index), message: `${JSON.stringify(match[0])}: ${why}` })
  }
  if (/\.json$/.test(file.path)) return found
  for (const { pattern, say, only, except } of words) {
    const match = except?.test(file.path) === true || only?.test(file.path) === false ? null : pattern.exec(file.text)
    if (match !== null) found.push({ path: file.path, line: lineOf(file.text, match.index), message: `"${match[0]}" is called ${say} here (docs/glossary.md)` })
  }
  return found
}

/** One word, one meaning: a term that begins an entry of the dictionary begins only one. */
function checkGlossary(file: TextFile): Problem[] {
  if (file.path !== 'docs/glossary.md') return []
  const seen = new Set<string>()
  return [...file.text.matchAll(/^(?:[-*] )?\*\*([^*]+)\*\*/gm)].flatMap((match) => {
    const term = match[1]!.toLowerCase()
    const first = !seen.has(term)
    seen.add(term)
    return first ? [] : [{ path: file.path, line: lineOf(file.text, match.index), message: `"${match[1]}" is explained twice` }]
  })
}

if (import.meta.main) {
  const problems = tidy(join(import.meta.dirname, '..'))
  for (const { path, line, message } of problems) console.log(`${path}:${line}: ${message}`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
