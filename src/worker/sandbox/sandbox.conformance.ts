/**
 * Goal: every kind of sandbox keeps the promises S1 to S5 of sandbox.ts.
 *
 * Method: the suite speaks the interface only. What runs inside are small programs that the caller gives, as commands; each
 * tells what it found in one line on its channel. Deaths are real: memory is really eaten, processes are really forked,
 * and the starting process is really killed. A promise that a kind can't keep on this host is skipped with its reason.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { PlatformErrorCode } from '#contract/errors.ts'
import { childrenOf, isAlive, processName } from './proc.ts'
import type { ProcessName } from './proc.ts'
import type { Sandbox, SandboxExit, SandboxOptions, SandboxProvider } from './sandbox.ts'

/** Programs for the inside. Each that "tells" writes one line to the channel and stays. */
export interface ConformanceCommands {
  readonly exit: (code: number) => readonly string[]
  readonly killItself: (signal: string) => readonly string[]
  /** Sends back what the channel brings. */
  readonly echo: readonly string[]
  /** Takes memory, and touches it, until it dies. */
  readonly eatMemory: readonly string[]
  /** Starts processes that start processes, without end; tells "held" when it can't. */
  readonly forkBomb: readonly string[]
  /** Starts a process in a session of its own that lives on; tells "ready". */
  readonly orphan: readonly string[]
  /** Tells "yes", or the error's code. */
  readonly canRead: (path: string) => readonly string[]
  readonly canWrite: (path: string) => readonly string[]
  readonly canConnect: (port: number) => readonly string[]
  /** Writes to /tmp until refused; tells how many bytes went in. */
  readonly fillTmp: readonly string[]
}

export interface ConformanceOptions {
  readonly kind: string
  readonly newProvider: (dataDirectory: string) => SandboxProvider
  /** What every command needs to run. */
  readonly common: () => Promise<Pick<SandboxOptions, 'mounts' | 'environment'>>
  readonly commands: ConformanceCommands
  /** Host command that starts a provider on this data directory, and in it a sandbox that runs `orphan`; it prints the
   * sandbox's pid in a line when that is ready, and stays. */
  readonly platform: (dataDirectory: string) => readonly string[]
  /** Where a promise has another form for a kind. Default: that of processes. */
  readonly forms?: ConformanceForms
  /** Why nothing can be tested here, or false. */
  readonly skip: string | false
}

export interface ConformanceForms {
  /** What makes a start impossible, and how that is said. */
  readonly impossible?: { readonly options: Partial<SandboxOptions>; readonly code: PlatformErrorCode }
  /** What bounds /tmp, and to how much. */
  readonly boundsTmp?: { readonly options: Partial<SandboxOptions>; readonly bytesMin: number; readonly bytesMax: number }
  /** `shared`: processes are not its own, outlive it, and have its code before its program runs. */
  readonly processes?: 'own' | 'shared'
  /** What does not exist for a kind, with the reason. */
  readonly skips?: { readonly signals?: string; readonly newLimits?: string; readonly orphans?: string }
}

const mb = 1024 * 1024
const patienceMs = 20_000

export function runSandboxConformance(options: ConformanceOptions): void {
  const { commands, forms = {} } = options
  const sharesProcesses = forms.processes === 'shared'
  const skips = { signals: false, newLimits: false, orphans: false, ...forms.skips } as const
  describe(`sandbox of kind ${options.kind}`, { skip: options.skip, timeout: 120_000 }, () => {
    let data: string
    let provider: SandboxProvider
    let common: Pick<SandboxOptions, 'mounts' | 'environment'>
    let started = 0

    before(async () => {
      data = mkdtempSync(join(tmpdir(), 'skep-sandbox-'))
      provider = options.newProvider(data)
      common = await options.common()
    })
    after(async () => {
      await provider?.close()
      rmSync(data, { recursive: true, force: true })
    })

    function start(command: readonly string[], over: Partial<SandboxOptions> = {}): Promise<Sandbox> {
      const limits = { memoryMb: 256, cpu: 1, pidsMax: 64 }
      const settings = { id: `c-${++started}`, network: 'none', tmpBytesMax: 4 * mb, limits, ...common, ...over } as const
      return provider.start({ command, ...settings })
    }

    /** What the program tells. It is destroyed then. */
    async function told(command: readonly string[], over?: Partial<SandboxOptions>): Promise<string> {
      const sandbox = await start(command, over)
      const line = await firstLine(sandbox)
      await sandbox.destroy('it has told')
      return line
    }

    test('gives a channel that carries bytes both ways as soon as it has started (S1)', async () => {
      const sandbox = await start(commands.echo)
      const sent = Buffer.alloc(300_000, 'skep ')
      sandbox.channel.write(sent)
      const parts: Buffer[] = []
      let size = 0
      for await (const part of sandbox.channel as AsyncIterable<Buffer>) {
        parts.push(part)
        size += part.length
        if (size >= sent.length) break
      }
      assert(Buffer.concat(parts).equals(sent))
      await sandbox.destroy('done')
    })

    test('rejects a start that can’t be, and leaves nothing of it (S1)', async () => {
      const absent = { mounts: [{ from: join(data, 'absent'), to: '/absent' }] }
      const { options: impossible, code } = forms.impossible ?? { options: absent, code: 'START_FAILED' }
      await assert.rejects(start(commands.exit(0), { id: 'impossible', ...impossible }), { name: 'PlatformError', code })
      assert.equal(readdirSync(join(data, 'sandboxes')).includes('impossible'), false)
      // The id is free again.
      const sandbox = await start(commands.exit(0), { id: 'impossible' })
      assert.deepEqual(await sandbox.exited, { cause: 'exited', code: 0 })
    })

    test('tells the code with which the program ended (S2)', async () => {
      for (const code of [0, 3]) assert.deepEqual(await (await start(commands.exit(code))).exited, { cause: 'exited', code })
    })

    test('tells the signal that ended the program (S2)', { skip: skips.signals }, async () => {
      assert.deepEqual(await (await start(commands.killItself('SIGTERM'))).exited, { cause: 'signalled', signal: 'SIGTERM' })
    })

    test('answers the first reason to whoever destroys it, and to whoever comes later (S3)', async () => {
      const sandbox = await start(commands.echo)
      const both = await Promise.all([sandbox.destroy('first'), sandbox.destroy('second')])
      const first: SandboxExit = { cause: 'destroyed', reason: 'first' }
      assert.deepEqual([...both, await sandbox.destroy('third'), await sandbox.exited], [first, first, first, first])
    })

    test('takes every call after its death, and keeps its last figures (S3)', async () => {
      const sandbox = await start(commands.echo)
      sandbox.channel.write('x\n')
      await firstLine(sandbox)
      const alive = sandbox.usage()
      assert(alive.cpuMs > 0 && alive.memoryBytes > 0)
      const exit = await sandbox.destroy('done')
      const dead = sandbox.usage()
      assert(dead.cpuMs >= alive.cpuMs && dead.memoryPeakBytes >= alive.memoryPeakBytes)
      sandbox.limit({ memoryMb: 64, cpu: 1, pidsMax: 10 })
      assert.deepEqual(sandbox.usage(), dead)
      assert.deepEqual(await sandbox.destroy('again'), exit)
    })

    test('leaves no directory behind (S2)', async () => {
      const sandbox = await start(commands.echo)
      writeFileSync(join(sandbox.codeDirectory, 'code.txt'), 'code')
      await sandbox.destroy('done')
      assert.equal(readdirSync(join(data, 'sandboxes')).includes(sandbox.id), false)
      assert.equal(existsSync(sandbox.codeDirectory), false)
    })

    test('kills a program that takes more memory than its limit, and says so', async () => {
      const sandbox = await start(commands.eatMemory, { limits: { memoryMb: 96, cpu: 1, pidsMax: 64 } })
      assert.deepEqual(await sandbox.exited, { cause: 'out-of-memory' })
      assert(sandbox.usage().memoryPeakBytes <= 96 * mb)
    })

    test('gives a sandbox new limits while it runs', { skip: skips.newLimits }, async () => {
      const sandbox = await start(commands.eatMemory, { limits: { memoryMb: 96, cpu: 1, pidsMax: 64 } })
      sandbox.limit({ memoryMb: 160, cpu: 2, pidsMax: 64 })
      assert.deepEqual(await sandbox.exited, { cause: 'out-of-memory' })
      assert(sandbox.usage().memoryPeakBytes > 100 * mb)
    })

    test('holds a fork bomb within its bound, and kills it whole', async () => {
      const sandbox = await start(commands.forkBomb, { limits: { memoryMb: 512, cpu: 1, pidsMax: 48 } })
      assert.equal(await firstLine(sandbox), 'held')
      const bombs = familyOf(sandbox.pid)
      assert(bombs.length <= 48 + 2, `${bombs.length} processes`)
      await sandbox.destroy('enough')
      assert.deepEqual(bombs.filter(isAlive), sharesProcesses ? bombs : [])
    })

    test('leaves no process behind, not even one that has left its session (S2)', { skip: skips.orphans }, async () => {
      const sandbox = await start(commands.orphan)
      assert.equal(await firstLine(sandbox), 'ready')
      const family = familyOf(sandbox.pid)
      assert(family.length >= 2)
      await sandbox.destroy('done')
      assert.deepEqual(family.filter(isAlive), [])
    })

    test('shows the host’s files to nobody (S5)', async () => {
      const other = await start(commands.echo)
      writeFileSync(join(other.codeDirectory, 'secret.txt'), 'secret')
      writeFileSync(join(data, 'store.db'), 'store')
      for (const path of ['/etc/shadow', join(data, 'store.db'), join(other.codeDirectory, 'secret.txt')]) {
        assert.equal(await told(commands.canRead(path)), 'ENOENT', path)
      }
      await other.destroy('done')
    })

    test('shows what the host puts into the code directory after the start, and lets nobody change it (S5)', async () => {
      const reader = await start(commands.echo)
      if (!sharesProcesses) assert.deepEqual(readdirSync(reader.codeDirectory), [])
      await reader.destroy('done')
      assert.equal(await told(commands.canWrite('/app/new.txt')), 'EROFS')
      assert.equal(await told(commands.canWrite('/new.txt')), 'EROFS')
      assert.equal(await told(commands.canWrite('/tmp/new.txt')), 'yes')
    })

    test('bounds /tmp (S5)', async () => {
      const { options: bounds, bytesMin, bytesMax } = forms.boundsTmp ?? { options: { tmpBytesMax: 2 * mb }, bytesMin: mb, bytesMax: 2 * mb }
      const bytes = Number(await told(commands.fillTmp, bounds))
      assert(bytes > bytesMin && bytes <= bytesMax, `${bytes} bytes`)
    })

    test('reaches no server of the host without a network (S5)', async () => {
      const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as AddressInfo
      try {
        assert.notEqual(await told(commands.canConnect(port)), 'yes')
        assert.equal(await told(commands.canConnect(port), { network: 'host' }), 'yes')
      } finally {
        server.close()
      }
    })

    test('dies with the process that started it, and the next sweep removes the rest (S4)', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'skep-sandbox-killed-'))
      const [program = '', ...rest] = options.platform(directory)
      const platform = spawn(program, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
      try {
        let text = ''
        for await (const part of platform.stdout) if ((text += String(part)).includes('\n')) break
        const family = familyOf(Number(text))
        assert(family.length >= 3, `sandbox "${text.trim()}" has ${family.length} processes`)

        const living = options.newProvider(directory)
        await living.sweep()
        assert.equal(family.filter(isAlive).length, family.length, 'a sweep touched the living')

        platform.kill('SIGKILL')
        await eventually(() => !family.some(isAlive))
        assert.notDeepEqual(readdirSync(join(directory, 'sandboxes')), [])
        await living.sweep()
        assert.deepEqual(readdirSync(join(directory, 'sandboxes')), [])
        await living.close()
      } finally {
        platform.kill('SIGKILL')
        rmSync(directory, { recursive: true, force: true })
      }
    })

    test('takes all sandboxes along when it closes, and starts no more', async () => {
      const directory = mkdtempSync(join(tmpdir(), 'skep-sandbox-closed-'))
      const closing = options.newProvider(directory)
      try {
        const settings = { network: 'none', tmpBytesMax: mb, limits: { memoryMb: 256, cpu: 1, pidsMax: 64 }, ...common } as const
        const sandbox = await closing.start({ ...settings, id: 'one', command: commands.echo })
        await closing.close()
        assert.equal((await sandbox.exited).cause, 'destroyed')
        await assert.rejects(closing.start({ ...settings, id: 'two', command: commands.echo }), { code: 'STOPPING' })
        assert.deepEqual(readdirSync(join(directory, 'sandboxes')), [])
      } finally {
        rmSync(directory, { recursive: true, force: true })
      }
    })
  })
}

/** The first line that comes over the channel. Fails with what the program printed when it dies before. */
export async function firstLine(sandbox: Sandbox): Promise<string> {
  let printed = ''
  sandbox.stderr.on('data', (part) => (printed += String(part)))
  let text = ''
  const timer = setTimeout(() => void sandbox.destroy('it told nothing'), patienceMs)
  const listener = (part: Buffer): void => void (text += part.toString())
  sandbox.channel.on('data', listener)
  const ended = sandbox.exited
  while (!text.includes('\n')) {
    const exit = await Promise.race([once(sandbox.channel, 'data').then(() => undefined, () => undefined), ended])
    if (exit !== undefined && !text.includes('\n')) assert.fail(`it ended (${JSON.stringify(exit)}) and had told "${text}" ${printed}`)
  }
  clearTimeout(timer)
  sandbox.channel.off('data', listener)
  return text.slice(0, text.indexOf('\n'))
}

/** A process and all below it, by names that stay true when the kernel uses their pids again. */
export function familyOf(pid: number): readonly ProcessName[] {
  const self = processName(pid)
  return self === undefined ? [] : [self, ...childrenOf(pid).flatMap(familyOf)]
}

async function eventually(holds: () => boolean): Promise<void> {
  const until = Date.now() + patienceMs
  while (!holds()) {
    assert(Date.now() < until, 'it did not come true')
    await new Promise((wake) => setTimeout(wake, 2))
  }
}
