/** `skep completions`: a script for a shell, made from the tree of commands, so that it can never be behind it. */
import type { Command } from 'commander'
import { PlatformError } from '#contract/errors.ts'
import type { Context } from '../context.ts'
import { buildProgram } from '../program.ts'

interface Node {
  /** Words after `skep`, joined by blanks; empty for skep itself. */
  readonly path: string
  readonly commands: readonly { readonly name: string; readonly description: string }[]
  readonly options: readonly { readonly flag: string; readonly short: string | undefined; readonly description: string; readonly takesValue: boolean }[]
}

export async function completions(_context: Context, shell: string): Promise<void> {
  const writers: Readonly<Record<string, (nodes: readonly Node[]) => string>> = { bash, zsh, fish }
  const writer = Object.hasOwn(writers, shell) ? writers[shell] : undefined
  if (writer === undefined) throw new PlatformError('INPUT_INVALID', `No completions for ${JSON.stringify(shell)}: bash, zsh and fish are known.`)
  process.stdout.write(writer(nodesOf(buildProgram(), '')))
}

function nodesOf(command: Command, path: string): Node[] {
  const below = command.commands as readonly Command[]
  const node: Node = {
    path,
    commands: below.map((one) => ({ name: one.name(), description: one.description() })),
    options: command.options.filter((option) => option.long !== undefined).map((option) => ({ flag: option.long!, short: option.short, description: option.description, takesValue: option.required || option.optional })),
  }
  return [node, ...below.flatMap((one) => nodesOf(one, path === '' ? one.name() : `${path} ${one.name()}`))]
}

/** The words are matched against the known paths: two words first, then one. */
function bash(nodes: readonly Node[]): string {
  const cases = nodes.map((node) => `    '${node.path}') words='${[...node.commands.map((one) => one.name), ...node.options.map((one) => one.flag)].join(' ')}' ;;`)
  return `# bash completions of skep: eval "$(skep completions bash)"
_skep() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words=''
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case " ${nodes.filter((node) => node.path !== '').map((node) => node.path.replaceAll(' ', '_')).join(' ')} " in
      *" \${path:+\${path// /_}_}$word "*) path="\${path:+$path }$word" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _skep skep ./skep
`
}

function zsh(nodes: readonly Node[]): string {
  const quote = (text: string): string => text.replaceAll("'", '’').replaceAll(':', '\\:').replaceAll('[', '(').replaceAll(']', ')')
  const cases = nodes.map((node) => {
    const words = [...node.commands.map((one) => `'${one.name}:${quote(one.description)}'`), ...node.options.map((one) => `'${one.flag}:${quote(one.description)}'`)]
    return `    '${node.path}') words=(${words.join(' ')}) ;;`
  })
  return `#compdef skep
# zsh completions of skep: eval "$(skep completions zsh)"
_skep() {
  local -a words_before words
  local path='' word
  words_before=("\${(@)words[2,CURRENT-1]}")
  local known=' ${nodes.filter((node) => node.path !== '').map((node) => node.path.replaceAll(' ', '_')).join(' ')} '
  for word in $words_before; do
    [[ "$known" == *" \${path:+\${path// /_}_}$word "* ]] && path="\${path:+$path }$word"
  done
  words=()
  case "$path" in
${cases.join('\n')}
  esac
  _describe 'skep' words || _files
}
compdef _skep skep ./skep
`
}

function fish(nodes: readonly Node[]): string {
  const quote = (text: string): string => text.replaceAll("'", '’')
  const top = nodes[0]!.commands.map((one) => one.name).join(' ')
  const lines = nodes.flatMap((node) => {
    const [first, second] = node.path.split(' ')
    const inner = nodes.find((one) => one.path === first)?.commands.map((one) => one.name).join(' ') ?? ''
    const when = node.path === '' ? `not __fish_seen_subcommand_from ${top}` : second === undefined ? `__fish_seen_subcommand_from ${first}${inner === '' ? '' : `; and not __fish_seen_subcommand_from ${inner}`}` : `__fish_seen_subcommand_from ${first}; and __fish_seen_subcommand_from ${second}`
    return [
      ...node.commands.map((one) => `complete -c skep -n '${when}' -f -a ${one.name} -d '${quote(one.description)}'`),
      ...node.options.map((one) => `complete -c skep -n '${when}' -l ${one.flag.slice(2)}${one.short === undefined ? '' : ` -s ${one.short.slice(1)}`}${one.takesValue ? ' -r' : ''} -d '${quote(one.description)}'`),
    ]
  })
  return `# fish completions of skep: skep completions fish | source\n${lines.join('\n')}\n`
}
