/** `skep doctor`: the machine's findings, and what the sandbox itself says of its isolation here. Exits 1 when something is missing. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Isolation } from '#worker/sandbox/sandbox.ts'
import { dataDirectory } from '../connection.ts'
import type { Context } from '../context.ts'
import { checkMachine } from '../doctor-checks.ts'
import { exitCodes } from '../exit-codes.ts'

export async function doctor(context: Context): Promise<number> {
  const findings = checkMachine(resolve(dataDirectory(context.options['data'] as string | undefined, process.env)))
  const isolation = await isolationHere()
  const ok = findings.every((one) => one.ok) && isolation.level !== 'none'
  context.result({ ok, isolation, findings }, () => {
    const lines = findings.flatMap((one) => [
      `${one.ok ? context.style('green', 'ok     ') : context.style('yellow', 'missing')} ${one.name.padEnd(16)} ${one.found}`,
      ...(one.without === undefined ? [] : [`        ${' '.repeat(16)} without it: ${one.without}`]),
      ...(one.command === undefined ? [] : [`        ${' '.repeat(16)} get it:     ${one.command}`]),
    ])
    return [...lines, '', `isolation: ${isolation.level}`, ...isolation.missing.map((line) => `  ${line}`)].join('\n')
  })
  return ok ? exitCodes.ok : exitCodes.functionFailed
}

/** Asked of the sandbox itself: it knows best what it can enforce. */
async function isolationHere(): Promise<Isolation> {
  const { ProcessSandboxProvider } = await import('#worker/sandbox/process-sandbox.ts')
  const directory = await mkdtemp(join(tmpdir(), 'skep-doctor-'))
  const provider = new ProcessSandboxProvider({ dataDirectory: directory })
  try {
    return provider.isolation()
  } finally {
    await provider.close()
    await rm(directory, { recursive: true, force: true })
  }
}
