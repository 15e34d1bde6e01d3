/**
 * Which files of a directory do not belong to a function: the rules of .gitignore that people use.
 *
 * Known: comments, `*`, `?`, `**`, a leading or inner "/" (from the root), a trailing "/" (directories only) and "!"
 * (back in; the last rule that matches decides). As in git, a file below an ignored directory cannot be brought back.
 * Not known: character classes and escapes.
 */
import { readFile } from 'node:fs/promises'

/** @param path Relative to the root, with "/" between the parts. */
export type Ignore = (path: string, isDirectory: boolean) => boolean

interface Rule {
  readonly pattern: RegExp
  readonly directoryOnly: boolean
  readonly back: boolean
}

export function ignoreFrom(lines: readonly string[]): Ignore {
  const rules = lines.map(ruleFrom).filter((rule) => rule !== undefined)
  return (path, isDirectory) => {
    let ignored = false
    for (const rule of rules) {
      if (rule.directoryOnly && !isDirectory) continue
      if (rule.pattern.test(path)) ignored = !rule.back
    }
    return ignored
  }
}

/** The lines of an ignore file; undefined when there is none. */
export async function readIgnoreFile(path: string): Promise<string[] | undefined> {
  try {
    return (await readFile(path, 'utf8')).split('\n')
  } catch {
    return undefined
  }
}

function ruleFrom(line: string): Rule | undefined {
  let text = line.trim()
  if (text === '' || text.startsWith('#')) return undefined
  const back = text.startsWith('!')
  if (back) text = text.slice(1)
  const directoryOnly = text.endsWith('/')
  if (directoryOnly) text = text.replace(/\/+$/, '')
  const anchored = text.includes('/')
  text = text.replace(/^\/+/, '')
  if (text === '') return undefined
  const body = text.split('/').map(partFrom).join('/').replaceAll('\0/', '(?:.*/)?').replaceAll('/\0', '(?:/.*)?').replaceAll('\0', '.*')
  return { pattern: new RegExp(`^${anchored ? '' : '(?:.*/)?'}${body}$`), directoryOnly, back }
}

/** One part of a path as a regular expression; NUL stands for `**`, which needs its slashes. */
function partFrom(part: string): string {
  if (part === '**') return '\0'
  return part.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '[^/]*').replaceAll('?', '[^/]')
}
