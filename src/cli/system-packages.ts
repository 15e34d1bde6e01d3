/**
 * Programs of the system that Skep uses, what is lost without each, and how to get them.
 *
 * Deciding is pure and tested; installing runs apt-get and nothing else.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { nativeFile } from '#pager/native-file.ts'

export interface SystemPackage {
  /** The program that is looked for. */
  readonly program: string
  /** Its package in Debian and Ubuntu. */
  readonly apt: string
  readonly without: string
  readonly neededBy: 'platform' | 'bench'
  /** Whether what it is for is there already. */
  readonly isDone?: () => boolean
}

export const systemPackages: readonly SystemPackage[] = [
  { program: 'bwrap', apt: 'bubblewrap', without: 'functions cannot be isolated: they run only with --allow-unsandboxed', neededBy: 'platform' },
  { program: 'python3', apt: 'python3', without: 'Python functions cannot run', neededBy: 'platform' },
  { program: 'g++', apt: 'g++', without: 'snapshots of faaslets are restored by copying, and one that spins is stopped only with its neighbours', neededBy: 'platform', isDone: () => existsSync(nativeFile()) },
  { program: 'wrk', apt: 'wrk', without: 'benchmarks cannot compare their load generator with another one', neededBy: 'bench' },
  { program: 'redis-server', apt: 'redis-server', without: 'transfers are not compared with Redis', neededBy: 'bench' },
  { program: 'nats-server', apt: 'nats-server', without: 'transfers are not compared with the object store of NATS', neededBy: 'bench' },
]

export type SetupPlan =
  | { readonly action: 'nothing' }
  | { readonly action: 'install'; readonly packages: readonly SystemPackage[] }
  /** Installing is not possible or not wanted: only say it. */
  | { readonly action: 'say'; readonly packages: readonly SystemPackage[]; readonly because: string }

export function planSetup(facts: { readonly missing: readonly SystemPackage[]; readonly root: boolean; readonly apt: boolean; readonly refused: boolean }): SetupPlan {
  if (facts.missing.length === 0) return { action: 'nothing' }
  if (facts.refused) return { action: 'say', packages: facts.missing, because: '--no-system was given' }
  if (!facts.apt) return { action: 'say', packages: facts.missing, because: 'this system has no apt-get' }
  if (!facts.root) return { action: 'say', packages: facts.missing, because: 'installing needs root' }
  return { action: 'install', packages: facts.missing }
}

export function installCommand(packages: readonly SystemPackage[]): string {
  return `sudo apt-get install -y ${packages.map((one) => one.apt).join(' ')}`
}

/** Full path of a program in PATH. */
export function findProgram(name: string): string | undefined {
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(directory || '.', name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not here.
    }
  }
  return undefined
}

export function missingPackages(includeBench: boolean): SystemPackage[] {
  return systemPackages.filter((one) => (includeBench || one.neededBy === 'platform') && findProgram(one.program) === undefined && one.isDone?.() !== true)
}

/** @returns The end of apt's output when it failed, otherwise undefined. */
export async function aptInstall(packages: readonly SystemPackage[]): Promise<string | undefined> {
  const names = packages.map((one) => one.apt)
  // The lists of a fresh machine or container are empty or old; without them nothing is found.
  const updated = await run('apt-get', ['update', '-qq'])
  const installed = await run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names])
  return installed.code === 0 ? undefined : `${updated.code === 0 ? '' : updated.output}${installed.output}`.trim().split('\n').slice(-8).join('\n')
}

function run(program: string, args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { output += text })
    child.on('error', (error) => resolve({ code: -1, output: error.message }))
    child.on('close', (code) => resolve({ code: code ?? -1, output }))
  })
}
