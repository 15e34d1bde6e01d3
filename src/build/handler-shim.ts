/**
 * Small source changes that keep code working which was not written for ES modules, or not for one file.
 *
 * - An OpenWhisk action may be a plain script with a top-level `main` and no export: the export is added.
 * - A CommonJS module has no names that an ES module can export: the handler's names are found in its text.
 * - `import.meta.url`, `__dirname` and their kin tell where a file lies; in a bundle all lie where the entry lies. They
 *   are rewritten, so that `new URL('./table.csv', import.meta.url)` finds the file beside its author.
 *
 * The text is searched, not parsed: what stands in a comment or a string may be rewritten too, which does no harm.
 */
import { posix } from 'node:path'

const exported = /^\s*export\b/m
const commonExport = /(?:^|[^\w$.])(?:module\s*\.\s*)?exports\s*(?:\.\s*([\w$]+)\s*)?=(?!=)/gm

/** Whether this is a CommonJS module that exports something. */
export function isCommonJs(text: string): boolean {
  return !exported.test(text) && text.search(commonExport) >= 0
}

/** Which of the names a CommonJS module seems to export. */
export function commonJsNames(text: string, names: readonly string[]): string[] {
  const assigned = new Set([...text.matchAll(commonExport)].map((match) => match[1]))
  const whole = /module\s*\.\s*exports\s*=\s*\{([^]*?)\}/.exec(text)?.[1] ?? ''
  return names.filter((name) => assigned.has(name) || new RegExp(`(?:^|[\\s,{])${name}\\s*(?:[,:(}]|$)`).test(whole))
}

/** What to append to a script that exports nothing but has a top-level handler; empty when nothing is to be done. */
export function missingExport(text: string, names: readonly string[]): string {
  if (exported.test(text) || text.search(commonExport) >= 0) return ''
  const found = names.filter((name) => new RegExp(`^(?:async\\s+)?(?:function\\s*\\*?\\s*|const\\s+|let\\s+|var\\s+)${name}\\b`, 'm').test(text))
  if (found.length === 0) return ''
  const script = /\brequire\s*\(/.test(text) && !/^\s*import\b/m.test(text)
  return script ? found.map((name) => `\nexports.${name} = ${name}`).join('') : `\nexport { ${found.join(', ')} }`
}

/**
 * The text with its position words rewritten for a bundle that lies in `bundleDirectory`.
 * @param path Of this file; both relative to the root of the code, with "/" between the parts.
 */
export function rewritePosition(text: string, path: string, bundleDirectory: string): string {
  const file = posix.relative(bundleDirectory, path)
  const directory = posix.dirname(file)
  let changed = text
  if (directory !== '.') {
    const places: Record<string, string> = {
      url: `new URL(${JSON.stringify(file)}, import.meta.url).href`,
      filename: `(import.meta.dirname + ${JSON.stringify(`/${file}`)})`,
      dirname: `(import.meta.dirname + ${JSON.stringify(`/${directory}`)})`,
    }
    changed = text.replaceAll(/\bimport\.meta\.(url|filename|dirname)\b/g, (_all, word: string) => places[word]!)
  }
  if (/\b(?:const|let|var)\s+__(?:dir|file)name\b/.test(text)) return changed
  const below = directory === '.' ? '' : `/${directory}`
  return changed
    .replaceAll(/(?<![\w$.'"`])__dirname\b/g, `(${BUNDLE_DIRECTORY} + ${JSON.stringify(below)})`)
    .replaceAll(/(?<![\w$.'"`])__filename\b/g, `(${BUNDLE_DIRECTORY} + ${JSON.stringify(`/${file}`)})`)
}

/** A CommonJS module cannot say `import.meta`, so the bundle's first line names its directory for it. */
export const BUNDLE_DIRECTORY = '__bundleDirectory'
