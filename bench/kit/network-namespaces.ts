/**
 * Two hosts on one machine: network namespaces that a pair of virtual interfaces joins, and a core each where there are two.
 *
 * The namespaces have no names: each belongs to a process that holds it, and that ends with this one, however this one ends. So nothing is ever left
 * behind. Where that is not possible (it takes root), both hosts are the loopback interface, and {@link Network.kind} says so.
 */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { firstLine } from './server.ts'

export interface Host {
  readonly address: string
  /** Starts a program there, on the host's core unless `floating`. */
  spawn(program: string, args: readonly string[], options: SpawnOptions & { readonly floating?: boolean }): ChildProcess
}

export interface Network extends AsyncDisposable {
  readonly kind: 'namespaces' | 'loopback'
  /** Why it is not namespaces. */
  readonly reason: string | undefined
  readonly hosts: readonly [Host, Host]
}

/** Of the block for benchmarks (RFC 2544): nobody else's. */
const ADDRESSES = ['198.18.77.1', '198.18.77.2'] as const

export async function openNetwork(): Promise<Network> {
  if (process.getuid?.() !== 0) return loopback('this takes root')
  const holders: ChildProcess[] = []
  try {
    for (const _ of ADDRESSES) {
      // `cat` ends when the other end of its input does: with this process, even when it is killed.
      const holder = spawn('unshare', ['--net', 'sh', '-c', 'ip link set lo up && echo ready && exec cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
      holders.push(holder)
      await firstLine(holder)
    }
    const [first, second] = holders.map(({ pid }) => String(pid)) as [string, string]
    execFileSync('ip', ['link', 'add', 'eth0', 'netns', first, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', second], { stdio: 'pipe' })
    for (const [index, { pid }] of holders.entries()) {
      const ip = (...args: readonly string[]): void => void execFileSync('nsenter', [`--net=/proc/${pid}/ns/net`, 'ip', ...args], { stdio: 'pipe' })
      ip('address', 'add', `${ADDRESSES[index]}/24`, 'dev', 'eth0')
      ip('link', 'set', 'eth0', 'up')
    }
  } catch (thrown) {
    await endAll(holders)
    return loopback(`they cannot be made here: ${(thrown as Error).message}`)
  }
  const hostOf = (index: 0 | 1): Host => ({ address: ADDRESSES[index], spawn: spawner(index, ['nsenter', `--net=/proc/${holders[index]!.pid}/ns/net`]) })
  return { kind: 'namespaces', reason: undefined, hosts: [hostOf(0), hostOf(1)], [Symbol.asyncDispose]: () => endAll(holders) }
}

function loopback(reason: string): Network {
  const hostOf = (index: 0 | 1): Host => ({ address: '127.0.0.1', spawn: spawner(index, []) })
  return { kind: 'loopback', reason, hosts: [hostOf(0), hostOf(1)], async [Symbol.asyncDispose]() {} }
}

function spawner(core: number, enter: readonly string[]): Host['spawn'] {
  return (program, args, { floating = false, ...options }) => {
    const pin = floating || process.platform !== 'linux' || availableParallelism() < 2 ? [] : ['taskset', '--cpu-list', String(core)]
    const [first, ...rest] = [...enter, ...pin, program, ...args]
    return spawn(first!, rest, options)
  }
}

async function endAll(holders: readonly ChildProcess[]): Promise<void> {
  for (const holder of holders) {
    if (holder.exitCode !== null || holder.signalCode !== null) continue
    const exited = once(holder, 'exit')
    holder.stdin!.end()
    await exited
  }
}
