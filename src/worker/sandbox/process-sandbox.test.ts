/**
 * Goal: the process sandbox keeps the promises of every sandbox, and those that it makes beyond.
 *
 * Method: the conformance suite with `node -e` programs, then real sandboxes looked into from the inside (by programs of the host
 * and by Python's ctypes, which makes any system call) and from the outside (by /proc and the cgroup files).
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { HeldBody } from '#contract/held-body.ts'
import { sharedMemory } from '#transfer/shared-memory.ts'
import { probeBubblewrap } from './bubblewrap.ts'
import { ProcessSandboxProvider } from './process-sandbox.ts'
import type { ProcessSandboxOptions } from './process-sandbox.ts'
import { isAlive } from './proc.ts'
import { nodeRuntimeMounts, pythonRuntime, systemMounts } from './runtime-mounts.ts'
import { familyOf, firstLine, runSandboxConformance } from './sandbox.conformance.ts'
import type { Sandbox, SandboxMount, SandboxOptions } from './sandbox.ts'
import { deniedCalls, inspectedCalls, isSeccompArchitecture } from './seccomp.ts'
import { nodeCommands } from './test-programs.ts'

const mb = 1024 * 1024
const commands = nodeCommands(process.execPath)
const platform = fileURLToPath(new URL('./test-platform.ts', import.meta.url))
const skip = whyNot()
const memory = sharedMemory()

/** The suite needs every protection to be there: what a host without them says is tested below, with fakes for the lack. */
function whyNot(): string | false {
  if (process.platform !== 'linux') return 'bubblewrap runs on Linux only'
  if (process.getuid?.() !== 0) return 'needs root, for cgroups'
  const probe = probeBubblewrap()
  return probe.state === 'works' ? false : `bubblewrap does not work here (${probe.state}): run ./skep setup`
}

runSandboxConformance({
  kind: 'process',
  newProvider: (dataDirectory) => new ProcessSandboxProvider({ dataDirectory }),
  common: async () => ({ mounts: await nodeRuntimeMounts(process.execPath), environment: {} }),
  commands,
  platform: (dataDirectory) => [process.execPath, platform, dataDirectory],
  skip,
})

describe('the process sandbox', { skip, timeout: 120_000 }, () => {
  let data: string
  let provider: ProcessSandboxProvider
  let node: readonly SandboxMount[]
  let started = 0

  before(async () => {
    data = mkdtempSync(join(tmpdir(), 'skep-process-'))
    provider = new ProcessSandboxProvider({ dataDirectory: data })
    node = await nodeRuntimeMounts(process.execPath)
  })
  after(async () => {
    await provider?.close()
    rmSync(data, { recursive: true, force: true })
  })

  function settings(over: Partial<SandboxOptions>): SandboxOptions {
    const limits = { memoryMb: 256, cpu: 1, pidsMax: 64 }
    return { id: `p-${++started}`, command: [], network: 'none', tmpBytesMax: mb, limits, mounts: node, environment: {}, ...over }
  }

  /** All that a program prints. */
  async function printed(over: Partial<SandboxOptions>): Promise<string> {
    const sandbox = await provider.start(settings(over))
    return (await Promise.all([textOf(sandbox.stdout), textOf(sandbox.stderr), sandbox.exited])).slice(0, 2).join('')
  }

  test('protects fully on this host, or says what is missing', () => {
    const { level, missing } = provider.isolation()
    assert.equal(level === 'full', missing.length === 0)
    assert.notEqual(level, 'none')
  })

  test('hands the program its channel and no other descriptor', async () => {
    const listing = await printed({ command: ['/bin/ls', '/proc/self/fd'], mounts: systemMounts() })
    // 4 is the listed directory itself. Descriptors that this test was born with show up as /dev/null, if there are any.
    const leaks = listing.trim().split('\n').filter((fd) => Number(fd) > 4)
    for (const fd of leaks) {
      assert.match(await printed({ command: ['/bin/readlink', `/proc/self/fd/${fd}`], mounts: systemMounts() }), /^\/dev\/null$/m)
    }
    assert.deepEqual(listing.trim().split('\n').map(Number).filter((fd) => fd <= 4).toSorted(), [0, 1, 2, 3, 4])
  })

  test('hands it a socket for memory, where there is memory to pass, and closes its own end with it', { skip: memory === undefined ? 'the addon is not built' : false }, async () => {
    const passing = new ProcessSandboxProvider({ dataDirectory: mkdtempSync(join(data, 'passing-')), memory })
    try {
      const before = readdirSync('/proc/self/fd').length
      const sandbox = await passing.start(settings({ command: ['/bin/sh', '-c', 'readlink /proc/self/fd/4 /proc/self/fd/5; echo told >&3; sleep 1000'], mounts: systemMounts() }))
      let links = ''
      sandbox.stdout.on('data', (chunk: Buffer) => (links += String(chunk)))
      assert.equal(await firstLine(sandbox), 'told')
      assert.match(links, /^socket:\[\d+\]\n$/)
      const body = new HeldBody(memory!.copy(Buffer.from('x')), 1)
      assert.deepEqual(sandbox.memory?.pass(body), { n: 0, b: 1 })
      body.release()
      await sandbox.destroy('done')
      assert.equal(sandbox.memory?.pass(body), undefined)
      for (let turn = 0; turn < 1000 && readdirSync('/proc/self/fd').length > before; turn++) await new Promise((resolve) => setImmediate(resolve))
      assert.ok(readdirSync('/proc/self/fd').length <= before)
    } finally {
      await passing.close()
    }
  })

  test('hides descriptors that the platform was born with', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'skep-born-'))
    const program = `
      import { ProcessSandboxProvider } from ${JSON.stringify(new URL('./process-sandbox.ts', import.meta.url).href)}
      import { systemMounts } from ${JSON.stringify(new URL('./runtime-mounts.ts', import.meta.url).href)}
      const provider = new ProcessSandboxProvider({ dataDirectory: ${JSON.stringify(directory)} })
      const sandbox = await provider.start({ id: 'a', command: ['/bin/readlink', '/proc/self/fd/40'], mounts: systemMounts(), environment: {},
        limits: { memoryMb: 64, cpu: 1, pidsMax: 9 }, network: 'none', tmpBytesMax: 4096 })
      sandbox.stdout.pipe(process.stdout)
      await sandbox.exited
      await provider.close()`
    const root = openSync('/', 'r')
    const stdio = Array.from({ length: 41 }, (_, fd) => (fd === 1 ? 'pipe' : fd === 40 ? root : 'ignore'))
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: stdio as never })
    try {
      assert.equal((await textOf(child.stdout!)).trim(), '/dev/null')
    } finally {
      child.kill('SIGKILL')
      rmSync(directory, { recursive: true, force: true })
    }
  })

  test('shows a link where one is asked for, to what another mount shows', async () => {
    const shown = mkdtempSync(join(data, 'shown-'))
    writeFileSync(join(shown, 'word'), 'seen')
    const mounts = [...node, { from: shown, to: '/shown' }, { from: '/shown/word', to: '/some/where/else', isLink: true as const }]
    assert.equal(await printed({ command: [process.execPath, '-p', `require('fs').readFileSync('/some/where/else', 'utf8')`], mounts }), 'seen\n')
  })

  test('runs the program as nobody special, alone, in a bare root', async () => {
    const script = `console.log(JSON.stringify({
      uid: process.getuid(), pid: process.pid, host: require('os').hostname(), root: fs.readdirSync('/').sort(), dev: fs.readdirSync('/dev').sort(),
      processes: fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name)).length,
      status: fs.readFileSync('/proc/self/status', 'utf8') }))`
    const seen = JSON.parse(await printed({ command: [process.execPath, '-e', `const fs = require('fs'); ${script}`] }))
    assert.notEqual(seen.uid, 0)
    assert.equal(seen.pid, 2)
    assert.equal(seen.host, 'sandbox')
    assert.equal(seen.processes, 2)
    for (const name of ['home', 'var', 'usr', 'sys', 'run']) {
      const isRuntimes = node.some((mount) => mount.to.startsWith(`/${name}/`))
      assert(isRuntimes || !seen.root.includes(name), `/${name} is there`)
    }
    assert.deepEqual(seen.dev, ['fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero'])
    assert.match(seen.status, /^NoNewPrivs:\s+1$/m)
    assert.match(seen.status, /^Seccomp:\s+2$/m)
    assert.match(seen.status, /^CapEff:\s+0+$/m)
  })

  test('passes the given environment only, and lets none of it act on bubblewrap', async () => {
    const environment = { NAME: 'a value', PATH: '/app', 'BASH_FUNC_echo%%': '() { :; }', LD_LIBRARY_PATH: '/app/nowhere', LD_DEBUG: 'libs' }
    const text = await printed({ command: [process.execPath, '-p', 'JSON.stringify(process.env)'], environment: { ...environment, LD_DEBUG: '' } })
    assert.deepEqual(JSON.parse(text), { ...environment, LD_DEBUG: '', PWD: '/app' })
    // LD_DEBUG makes the loader talk. It talks of the program, and not of bwrap, which would be first.
    const talk = await printed({ command: [process.execPath, '-e', '0'], environment })
    assert.match(talk, /calling init/)
    assert.doesNotMatch(talk, /bwrap/)
  })

  test('shows at /app what is linked into the code directory after the start', async () => {
    const sandbox = await provider.start(
      settings({ command: [process.execPath, '-e', `process.stdin; new (require('net').Socket)({ fd: 3 }).once('data', () => { console.log(require('fs').readFileSync('/app/lib/main.js', 'utf8')); process.exit() })`] }),
    )
    writeFileSync(join(data, 'blob'), 'linked')
    mkdirSync(join(sandbox.codeDirectory, 'lib'))
    linkSync(join(data, 'blob'), join(sandbox.codeDirectory, 'lib/main.js'))
    sandbox.channel.write('go')
    assert.equal((await textOf(sandbox.stdout)).trim(), 'linked')
    await sandbox.exited
  })

  test('keeps what a program printed and told before it ended at once (P2)', async () => {
    const sandbox = await provider.start(settings({ command: ['/bin/sh', '-c', 'echo out; echo err >&2; echo told >&3'], mounts: systemMounts() }))
    assert.deepEqual(await Promise.all([textOf(sandbox.stdout), textOf(sandbox.stderr), textOf(sandbox.channel)]), ['out\n', 'err\n', 'told\n'])
    assert.deepEqual(await sandbox.exited, { cause: 'exited', code: 0 })
  })

  test('says what bubblewrap said when the sandbox can’t be made', async () => {
    const mounts = [{ from: join(data, 'absent'), to: '/absent' }]
    await assert.rejects(provider.start(settings({ mounts, command: commands.echo })), { code: 'START_FAILED', message: /Can't find source path .*absent.*skep doctor/ })
  })

  test('refuses a second sandbox with the id of a living one, and leaves that one alone', async () => {
    const sandbox = await provider.start(settings({ id: 'twin', command: commands.echo }))
    await assert.rejects(provider.start(settings({ id: 'twin', command: commands.echo })), { code: 'START_FAILED', message: /twin/ })
    const neighbour = new ProcessSandboxProvider({ dataDirectory: data })
    await assert.rejects(neighbour.start(settings({ id: 'twin', command: commands.echo })), { code: 'START_FAILED', message: /twin/ })
    await neighbour.close()
    assert.deepEqual(readdirSync(sandbox.codeDirectory), [])
    sandbox.channel.write('alive\n')
    assert.equal(await firstLine(sandbox), 'alive')
    await sandbox.destroy('done')
  })

  test('is in its cgroup before the program runs (P1)', async () => {
    const many = await Promise.all(Array.from({ length: 6 }, () => provider.start(settings({ command: commands.echo }))))
    for (const sandbox of many) {
      sandbox.channel.write('x\n')
      await firstLine(sandbox)
      for (const { pid } of familyOf(sandbox.pid)) {
        assert.match(readFileSync(`/proc/${pid}/cgroup`, 'utf8'), new RegExp(`/skep-[0-9a-f-]+/${sandbox.id}$`, 'm'))
      }
    }
    await Promise.all(many.map((sandbox) => sandbox.destroy('done')))
  })

  test('refuses a new memory limit below what is in use, and keeps the old one', async () => {
    const script = `const all = Buffer.alloc(60e6, 1); require('fs').writeSync(3, 'full\\n'); setInterval(() => all[0], 1e6)`
    const sandbox = await provider.start(settings({ command: [process.execPath, '-e', script] }))
    await firstLine(sandbox)
    assert.throws(() => sandbox.limit({ memoryMb: 16, cpu: 1, pidsMax: 64 }), { code: 'START_FAILED', message: /16 MB is below/ })
    assert.deepEqual(await sandbox.destroy('done'), { cause: 'destroyed', reason: 'done' })
  })

  test('bites with its system call filter', { skip: isSeccompArchitecture(process.arch) ? false : 'no filter here' }, async (t) => {
    const python = await pythonRuntime().catch(() => undefined)
    if (python === undefined) return t.skip('needs python3 to make system calls')
    const column = process.arch === 'x64' ? 0 : 1
    const names = ['mount', 'unshare', 'setns', 'ptrace', 'bpf', 'keyctl', 'perf_event_open', 'io_uring_setup', 'userfaultfd', 'open_by_handle_at', 'fsopen', 'kexec_load'] as const
    const calls = [
      ...names.map((name) => ({ name, number: deniedCalls[name][column], first: 0, errno: 1 })),
      { name: 'clone3', number: inspectedCalls.clone3[column], first: 0, errno: 38 },
      { name: 'clone(NEWUSER)', number: inspectedCalls.clone[column], first: 0x10000000 | 17, errno: 1 },
      { name: 'socket(VSOCK)', number: inspectedCalls.socket[column], first: 40, errno: 97 },
    ]
    const script = `
import ctypes, json
libc = ctypes.CDLL(None, use_errno=True)
found = []
for call in json.loads('''${JSON.stringify(calls)}'''):
    ctypes.set_errno(0)
    found.append([call['name'], libc.syscall(call['number'], ctypes.c_long(call['first']), 0, 0, 0, 0), ctypes.get_errno()])
print(json.dumps(found))`
    const text = await printed({ command: [python.command, '-I', '-c', script], mounts: python.mounts })
    assert.deepEqual(JSON.parse(text), calls.map((call) => [call.name, -1, call.errno]))
  })

  test('runs Python with its standard library and without the host’s packages', async (t) => {
    const python = await pythonRuntime().catch(() => undefined)
    if (python === undefined) return t.skip('needs python3')
    const script = `import json, ssl, sqlite3, zlib, multiprocessing, sys, os
print(json.dumps([list(sys.version_info[:3]), [name for path in sys.path if 'packages' in path and os.path.isdir(path) for name in os.listdir(path) if name != 'README.md']]))`
    const text = await printed({ command: [python.command, '-I', '-c', script], mounts: python.mounts })
    assert.deepEqual(JSON.parse(text), [python.version.split('.').map(Number), []])
  })
})

describe('the process sandbox on a host that lacks something', { skip: process.platform === 'linux' ? false : 'Linux only', timeout: 60_000 }, () => {
  let data: string
  const providers: ProcessSandboxProvider[] = []
  before(() => {
    data = mkdtempSync(join(tmpdir(), 'skep-lacking-'))
  })
  // Also when a test fails: what runs bare would outlive us.
  after(async () => {
    for (const provider of providers) await provider.close()
    rmSync(data, { recursive: true, force: true })
  })

  function lacking(options: Partial<ProcessSandboxOptions>): ProcessSandboxProvider {
    const provider = new ProcessSandboxProvider({ dataDirectory: data, cgroups: [], ...options })
    providers.push(provider)
    return provider
  }

  const program: Pick<SandboxOptions, 'mounts' | 'environment' | 'network' | 'tmpBytesMax' | 'limits'> = {
    mounts: [],
    environment: { PATH: '/usr/bin:/bin' },
    network: 'none',
    tmpBytesMax: mb,
    limits: { memoryMb: 256, cpu: 1, pidsMax: 64 },
  }

  test('refuses to run code without bubblewrap, and names the command that brings it', async () => {
    const provider = lacking({ searchPath: '' })
    const { level, missing } = provider.isolation()
    assert.equal(level, 'none')
    assert.match(missing[0] ?? '', /bubblewrap is not installed.*\.\/skep setup.*apt-get install bubblewrap/)
    await assert.rejects(provider.start({ ...program, id: 'a', command: ['/bin/true'] }), { code: 'ISOLATION_MISSING', message: /skep setup/ })
    await provider.close()
  })

  test('runs it bare when told to, with host paths for inside paths, and kills what it can', async () => {
    const provider = lacking({ searchPath: '', allowUnsandboxed: true })
    const tools = join(data, 'tools')
    mkdirSync(tools)
    writeFileSync(join(tools, 'say.sh'), 'pwd; echo "$TOOLS"; echo told >&3; exec sleep 1000')
    const sandbox = await provider.start({
      ...program,
      id: 'bare',
      mounts: [{ from: tools, to: '/tools' }],
      environment: { ...program.environment, TOOLS: '/tools/bin:/app/bin' },
      command: ['/bin/sh', '/tools/say.sh'],
    })
    assert.equal(await firstLine(sandbox), 'told')
    assert.equal(String(await firstChunk(sandbox)), `${sandbox.codeDirectory}\n${tools}/bin:${sandbox.codeDirectory}/bin\n`)
    // The kernel counts a small process's memory roughly, down to nothing.
    assert(sandbox.usage().memoryBytes >= 0)
    assert.deepEqual(await sandbox.destroy('done'), { cause: 'destroyed', reason: 'done' })
    assert.throws(() => process.kill(sandbox.pid, 0), { code: 'ESRCH' })
    await assert.rejects(provider.start({ ...program, id: 'absent', command: ['/absent'] }), { code: 'START_FAILED', message: /ENOENT/ })
    await provider.close()
    assert.deepEqual(readdirSync(join(data, 'sandboxes')), [])
  })

  test('isolates in part without cgroups: says what is not limited, and still kills everything', { skip }, async () => {
    const provider = lacking({})
    const { level, missing } = provider.isolation()
    assert.equal(level, 'partial')
    assert.match(missing.join('\n'), /memory is not limited/)
    const mounts = await nodeRuntimeMounts(process.execPath)
    const sandbox = await provider.start({ ...program, mounts, id: 'ungrouped', command: commands.orphan })
    assert.equal(await firstLine(sandbox), 'ready')
    assert(sandbox.usage().cpuMs > 0)
    const family = familyOf(sandbox.pid)
    assert(family.length >= 3)
    await sandbox.destroy('done')
    assert.deepEqual(family.filter(isAlive), [])
    const short = await provider.start({ ...program, mounts, id: 'short', command: commands.exit(7) })
    assert.deepEqual(await short.exited, { cause: 'exited', code: 7 })
    await provider.close()
  })
})

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const part of stream) text += String(part)
  return text
}

async function firstChunk(sandbox: Sandbox): Promise<Buffer> {
  for await (const part of sandbox.stdout) return part as Buffer
  throw new Error('it printed nothing')
}
