/**
 * Says at deploy what a bundle needs that kind js does not have: Node's modules, packages outside of the bundle, names of Node.
 *
 * The bundle is parsed, not searched: what stands in a string or a comment does not count. A name such as `Buffer` counts only when the bundle
 * neither declares it nor asks `typeof Buffer` anywhere, because code that asks can do without; so does code that imports a module only
 * when it runs (`import()`, `require` of a bundled package). What is found neither here nor
 * while the code loads is an error of the invocation that meets it.
 */
import { isBuiltin } from 'node:module'
import { parseSync } from 'rolldown/utils'
import { PlatformError } from '../../../src/contract/errors.ts'

/** How a function of kind js is bundled, beside what is the same for kind node: packages give their build for workers or browsers. */
export const guestBundleOptions = {
  platform: 'browser' as const,
  resolve: { conditionNames: ['worker', 'browser', 'import', 'module', 'default'], mainFields: ['browser', 'module', 'main'] },
  /** Left as imports, for {@link checkBundle} to refuse, except `skep`, which the guest has. */
  external: (id: string): boolean => id === 'skep' || isBuiltin(id),
}

/** Names of Node that the guest does not have, with what to use. */
const missingNames: Readonly<Record<string, string>> = {
  Buffer: 'Uint8Array, TextEncoder and TextDecoder',
  __dirname: 'an import of the file',
  __filename: 'an import of the file',
  require: 'import',
}

interface AstNode {
  readonly type: string
  readonly start: number
  readonly [member: string]: unknown
}

export interface BundleProblem {
  readonly what: 'module' | 'name'
  readonly name: string
  readonly line: number
}

/** Everything in the bundle that the guest does not have, at most one per name. @throws PlatformError CODE_INVALID when it does not parse. */
export function bundleProblems(source: string, entry = 'index.js'): readonly BundleProblem[] {
  const { program, errors } = parseSync(entry.replace(/\.[^.]*$/, '.mjs'), source)
  const fatal = errors.find(({ severity }) => severity === 'Error')
  if (fatal !== undefined) throw new PlatformError('CODE_INVALID', `${entry}: ${fatal.message}`)
  const modules = new Map<string, number>()
  const used = new Map<string, number>()
  const declared = new Set<string>()
  const asked = new Set<string>()
  walk(program as unknown as AstNode, undefined, '', (node, parent, key) => {
    const literal = (node['source'] as AstNode | null | undefined)?.['value']
    if (/^(?:Import|Export).*Declaration$/.test(node.type) && typeof literal === 'string') note(modules, literal, node.start)
    if (node.type === 'UnaryExpression' && node['operator'] === 'typeof') asked.add(String((node['argument'] as AstNode)['name']))
    if (node.type !== 'Identifier') return
    const name = String(node['name'])
    if (!(name in missingNames)) return
    if (isDeclaration(parent, key)) declared.add(name)
    else if (!isMember(parent, key)) note(used, name, node.start)
  })
  const lineOf = (start: number): number => source.slice(0, start).split('\n').length
  const problems: BundleProblem[] = []
  for (const [name, start] of modules) if (name !== 'skep') problems.push({ what: 'module', name, line: lineOf(start) })
  for (const [name, start] of used) if (!declared.has(name) && !asked.has(name)) problems.push({ what: 'name', name, line: lineOf(start) })
  return problems
}

/**
 * @param source The bundle: one ES module.
 * @throws PlatformError CODE_INVALID that names everything the guest does not have, and what to do.
 */
export function checkBundle(source: string, entry = 'index.js'): void {
  const problems = bundleProblems(source, entry)
  if (problems.length === 0) return
  const modules = problems.filter(({ what }) => what === 'module').map(({ name }) => name)
  const names = problems.filter(({ what }) => what === 'name').map(({ name }) => name)
  const builtin = modules.filter((name) => isBuiltin(name))
  const outside = modules.filter((name) => !isBuiltin(name))
  const parts: string[] = []
  if (builtin.length > 0) parts.push(`it imports ${builtin.join(', ')}, and kind js has none of Node's modules`)
  if (outside.length > 0) parts.push(`it imports ${outside.join(', ')}, which is not in the bundle`)
  if (names.length > 0) parts.push(`it uses ${names.map((name) => `${name} (use ${missingNames[name]})`).join(', ')}`)
  throw new PlatformError('CODE_INVALID', `"${entry}" cannot run as kind js: ${parts.join('; ')}. Change that, or deploy it with kind node.`, { details: { entry, modules, names } })
}

function walk(node: AstNode, parent: AstNode | undefined, key: string, visit: (node: AstNode, parent: AstNode | undefined, key: string) => void): void {
  visit(node, parent, key)
  for (const [name, value] of Object.entries(node)) {
    if (Array.isArray(value)) {
      for (const one of value) if (isNode(one)) walk(one, node, name, visit)
    } else if (isNode(value)) walk(value, node, name, visit)
  }
}

function isNode(value: unknown): value is AstNode {
  return typeof value === 'object' && value !== null && typeof (value as AstNode).type === 'string'
}

function isDeclaration(parent: AstNode | undefined, key: string): boolean {
  if (parent === undefined) return false
  if (/Function|Class/.test(parent.type)) return key === 'id' || key === 'params'
  return (parent.type === 'VariableDeclarator' && key === 'id') || /^Import.*Specifier$/.test(parent.type) || parent.type === 'CatchClause' || (parent.type === 'Property' && key === 'value' && parent['shorthand'] === true)
}

/** A property's name, not a variable. */
function isMember(parent: AstNode | undefined, key: string): boolean {
  if (parent === undefined) return false
  if (parent.type === 'MemberExpression') return key === 'property' && parent['computed'] !== true
  return (/^(?:Property|MethodDefinition|PropertyDefinition)$/.test(parent.type) && key === 'key' && parent['computed'] !== true) || parent.type === 'ExportSpecifier'
}

function note(map: Map<string, number>, name: string, start: number): void {
  if (!map.has(name)) map.set(name, start)
}
