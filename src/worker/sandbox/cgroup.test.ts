/**
 * Goal: limits and accounts go to the right files in every layout of cgroups, and what is dead is swept.
 *
 * Method: layouts of other hosts are texts of /proc and plain directories, which take and give the same files (a directory
 * with files in it can't be removed like a group, so removal is tested on the real thing). Then the groups of this
 * host, where they may be written, with real processes.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, test } from 'node:test'
import fc from 'fast-check'
import { Cgroup, CgroupParent, parentDirectories, sweepParent } from './cgroup.ts'
import { cgroupFiles, cgroupTrees } from './cgroup-layout.ts'
import type { CgroupTree } from './cgroup-layout.ts'
import { launch } from './launcher.ts'

const mb = 1024 * 1024
const limits = { memoryMb: 128, cpu: 0.5, pidsMax: 30 }

describe('cgroup layout', () => {
  let root: string
  beforeEach(() => void (root = mkdtempSync(join(tmpdir(), 'skep-layout-'))))
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  test('finds the one tree of v2, with the process’s own group before the root', () => {
    writeFileSync(join(root, 'cgroup.controllers'), 'cpuset cpu io memory hugetlb pids rdma misc\n')
    const trees = cgroupTrees({
      mountinfo: `30 23 0:26 / ${root} rw,nosuid,nodev shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n`,
      cgroup: '0::/system.slice/skep.service\n',
    })
    const expected: CgroupTree = { version: 2, controllers: ['memory', 'cpu', 'cpuacct', 'pids'], candidates: [`${root}/system.slice/skep.service`, root] }
    assert.deepEqual(trees, [expected])
  })

  test('takes the v1 trees of a hybrid host, whose v2 tree controls nothing', () => {
    mkdirSync(join(root, 'unified'))
    writeFileSync(join(root, 'unified/cgroup.controllers'), '\n')
    const line = (name: string, options: string): string => `30 23 0:26 / ${root}/${name} rw shared:4 - cgroup cgroup rw,${options}`
    const mountinfo = [
      `31 23 0:27 / ${root}/unified rw shared:5 - cgroup2 cgroup2 rw`,
      line('cpu,cpuacct', 'cpu,cpuacct'),
      line('memory', 'memory'),
      line('pids', 'pids'),
      line('systemd', 'xattr,name=systemd'),
    ].join('\n')
    const trees = cgroupTrees({ mountinfo, cgroup: '5:memory:/a\n4:pids:/b:c\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/y\n' })
    assert.deepEqual(trees, [
      { version: 1, controllers: ['cpu', 'cpuacct'], candidates: [`${root}/cpu,cpuacct`] },
      { version: 1, controllers: ['memory'], candidates: [`${root}/memory/a`, `${root}/memory`] },
      { version: 1, controllers: ['pids'], candidates: [`${root}/pids/b:c`, `${root}/pids`] },
    ])
  })

  test('takes the part of the tree that a container is shown', () => {
    const mountinfo = `30 23 0:26 /docker/7 ${root} ro - cgroup cgroup rw,memory`
    assert.deepEqual(cgroupTrees({ mountinfo, cgroup: '5:memory:/docker/7\n' })[0]?.candidates, [root])
    assert.deepEqual(cgroupTrees({ mountinfo, cgroup: '5:memory:/docker/7/in\n' })[0]?.candidates, [`${root}/in`, root])
    assert.deepEqual(cgroupTrees({ mountinfo, cgroup: '5:memory:/docker/77\n' })[0]?.candidates, [root])
  })

  test('finds nothing in any other text, and does not fail on it', () => {
    assert.deepEqual(cgroupTrees({ mountinfo: '', cgroup: '' }), [])
    const text = fc.oneof(fc.string(), fc.stringMatching(/^([0-9/a-z:, -]{0,40}\n){0,4}$/))
    fc.assert(fc.property(text, text, (mountinfo, cgroup) => Array.isArray(cgroupTrees({ mountinfo, cgroup }))))
  })
})

describe('cgroup files', () => {
  let root: string
  beforeEach(() => void (root = mkdtempSync(join(tmpdir(), 'skep-files-'))))
  afterEach(() => rmSync(root, { recursive: true, force: true }))

  test('of v2 get the limits and give the figures', () => {
    const directory = join(root, 'a')
    const file = (name: string): string => join(directory, name)
    const group = new Cgroup([{ directory, version: 2, controllers: ['memory', 'cpu', 'cpuacct', 'pids'] }])
    for (const name of ['memory.swap.max', 'memory.oom.group', 'cgroup.kill']) writeFileSync(file(name), '')
    group.limit(limits)
    const written = ['memory.max', 'memory.swap.max', 'memory.oom.group', 'cpu.max', 'pids.max'].map((name) => readFileSync(file(name), 'utf8'))
    assert.deepEqual(written, [String(128 * mb), '0', '1', '50000 100000', '32'])
    assert.deepEqual(group.joinFiles, [file('cgroup.procs')])

    writeFileSync(file('cpu.stat'), 'usage_usec 2500\nuser_usec 2000\n')
    writeFileSync(file('memory.current'), '1000\n')
    writeFileSync(file('memory.peak'), '3000\n')
    writeFileSync(file('memory.events'), 'low 0\nmax 9\noom 2\noom_kill 1\n')
    assert.deepEqual(group.usage(), { cpuMs: 2.5, memoryBytes: 1000, memoryPeakBytes: 3000 })
    assert.equal(group.oomKills(), 1)

    group.kill()
    assert.equal(readFileSync(file('cgroup.kill'), 'utf8'), '1')
  })

  test('of v2 are not given a memory limit that the kernel would kill for', () => {
    const directory = join(root, 'a')
    const group = new Cgroup([{ directory, version: 2, controllers: ['memory'] }])
    group.limit(limits)
    writeFileSync(join(directory, 'memory.current'), String(64 * mb))
    assert.throws(() => group.limit({ ...limits, memoryMb: 32 }), { code: 'START_FAILED', message: /32 MB is below the 64 MB/ })
    assert.equal(readFileSync(join(directory, 'memory.max'), 'utf8'), String(128 * mb))
  })

  test('of v2 before 5.19 have no peak: the highest figure asked for stands in', () => {
    const directory = join(root, 'a')
    const group = new Cgroup([{ directory, version: 2, controllers: ['memory'] }])
    for (const bytes of [1000, 5000, 2000]) {
      writeFileSync(join(directory, 'memory.current'), String(bytes))
      group.usage()
    }
    assert.deepEqual(group.usage(), { cpuMs: 0, memoryBytes: 2000, memoryPeakBytes: 5000 })
  })

  test('are left alone in a tree that refuses groups: its controllers are missing then', () => {
    const parent = CgroupParent.create('p', [{ version: 1, controllers: ['memory'], candidates: [join(root, 'absent')] }])
    assert.deepEqual(parent.controllers, [])
    const group = parent.createChild('a', limits)
    assert.equal(group.isReal, false)
    assert.equal(group.remove(), true)
  })
})

describe('the cgroups of this host', { skip: whyNot() }, () => {
  const name = `skep-00000000-${process.pid}-0-0`
  const trees = cgroupTrees(cgroupFiles())

  test('hold a process: limits, figures, death, removal (G2)', async () => {
    const parent = CgroupParent.create(name, trees)
    const group = parent.createChild('a', limits)
    const child = await sleeper(group)
    try {
      if (parent.controllers.includes('cpuacct')) assert(group.usage().cpuMs > 0)
      group.limit({ memoryMb: 64, cpu: 2, pidsMax: 5 })
      group.limit({ memoryMb: 256, cpu: 1, pidsMax: 50 })
      assert.equal(group.remove(), false)
      const ended = once(child, 'exit')
      group.kill()
      assert.deepEqual(await ended, [null, 'SIGKILL'])
      while (!group.remove()) await new Promise((wake) => setTimeout(wake, 1))
      assert.equal(group.usage().memoryBytes, 0)
      group.limit(limits)
    } finally {
      child.kill('SIGKILL')
      parent.remove()
    }
    assert.deepEqual(parentDirectories(name, trees).filter(existsSync), [])
  })

  test('are swept with what lives in them', async () => {
    const swept = `${name}1`
    const parent = CgroupParent.create(swept, trees)
    const child = await sleeper(parent.createChild('a', limits))
    try {
      const ended = once(child, 'exit')
      const directories = parentDirectories(swept, trees)
      while (!directories.every(sweepParent)) await new Promise((wake) => setTimeout(wake, 1))
      assert.deepEqual(await ended, [null, 'SIGKILL'])
      assert.deepEqual(directories.filter(existsSync), [])
    } finally {
      child.kill('SIGKILL')
    }
  })
})

/** A process that is in the group. */
async function sleeper(group: Cgroup): Promise<ChildProcess> {
  const { program, arguments: all } = launch(group.joinFiles, '/bin/sh', ['-c', 'cat /proc/self/cgroup; exec sleep 1000'])
  const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [text] = await once(child.stdout!, 'data')
  assert.match(String(text), /skep-00000000-/)
  return child
}

function whyNot(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs Linux and root'
  return cgroupTrees(cgroupFiles()).length > 0 ? false : 'no cgroups are mounted here'
}
