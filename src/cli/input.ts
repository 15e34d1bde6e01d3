/** What comes in from a person or a pipe: standard input, and NAME=value pairs. */
import { PlatformError } from '#contract/errors.ts'

/** All of standard input. @throws INPUT_INVALID on a terminal: waiting there looks like hanging. */
export async function readStandardInput(): Promise<Buffer> {
  if (process.stdin.isTTY === true) throw new PlatformError('INPUT_INVALID', 'Standard input is a terminal. Pipe the content in, for example: cat file | skep …')
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

/** @throws INPUT_INVALID that names the option and the pair. */
export function parseAssignments(option: string, pairs: readonly string[]): Record<string, string> {
  const values: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at <= 0) throw new PlatformError('INPUT_INVALID', `${option} ${JSON.stringify(pair)} is not NAME=value.`)
    values[pair.slice(0, at)] = pair.slice(at + 1)
  }
  return values
}

/** Lines NAME=value of a .env file; comments, blank lines, `export` and quotes are known. */
export function parseEnvironmentFile(text: string): Record<string, string> {
  const values: Record<string, string> = {}
  for (const line of text.split('\n')) {
    const match = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line)
    if (match === null) continue
    const value = match[2]!
    values[match[1]!] = /^(["']).*\1$/.test(value) ? value.slice(1, -1) : value.replace(/\s+#.*$/, '')
  }
  return values
}
