/** The project's own text files, and what imports what: the facts that tidy.ts judges. */
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

export interface TextFile {
  /** Relative to the root. */
  readonly path: string
  readonly text: string
}

export interface Import {
  readonly from: string
  /** Relative to the root; a package's name is not listed. */
  readonly to: string
  readonly line: number
  /** Erased before running: it cannot be part of a cycle that matters. */
  readonly typeOnly: boolean
}

const skippedDirectories = new Set(['node_modules', '.git', '.skep', '__pycache__', '.venv'])
const textFile = /\.(?:ts|mts|js|mjs|cjs|py|md|sh|json|yaml|yml|c|cc|h)$|^(?:skep|run|\.gitignore|\.npmrc)$/

export function readTree(root: string, directory = ''): TextFile[] {
  const found: TextFile[] = []
  for (const item of readdirSync(join(root, directory), { withFileTypes: true })) {
    const path = posix.join(directory, item.name)
    if (item.isDirectory()) {
      if (!skippedDirectories.has(item.name)) found.push(...readTree(root, path))
    } else if (item.isFile() && textFile.test(item.name)) found.push({ path, text: readFileSync(join(root, path), 'utf8') })
  }
  return found
}

const importPattern = /^\s*(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm

export function importsOf(file: TextFile): Import[] {
  if (!file.path.endsWith('.ts')) return []
  return [...file.text.matchAll(importPattern)].flatMap((match) => {
    const specifier = match[2] ?? match[3]!
    const to = specifier.startsWith('#') ? `src/${specifier.slice(1)}` : specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : undefined
    return to === undefined ? [] : [{ from: file.path, to, line: lineOf(file.text, match.index + match[0].search(/\S/)), typeOnly: match[1] !== undefined || match[3] !== undefined }]
  })
}

export function lineOf(text: string, index: number): number {
  let line = 1
  for (let at = text.indexOf('\n'); at >= 0 && at < index; at = text.indexOf('\n', at + 1)) line++
  return line
}

export function folderOf(path: string): string | undefined {
  const parts = path.split('/')
  return parts[0] === 'src' && parts.length > 2 ? parts[1] : undefined
}

/** Files that help tests: they may reach anywhere. */
export function isTestFile(path: string): boolean {
  return /\.(?:test|soak|fake|conformance|bench)\.ts$/.test(path) || path.startsWith('test/')
}

/** Where a link of a document points, relative to the root. */
export function linkTarget(document: string, link: string): string {
  const path = decodeURIComponent(link.replace(/[#?].*$/, ''))
  return path.startsWith('/') ? path.slice(1) : posix.join(dirname(document), path)
}
