/**
 * Goal: the filter denies what its table says, on both architectures, and nothing that a runtime needs.
 *
 * Method: a small interpreter of classic BPF runs the program over (architecture, number, arguments). The numbers are held
 * against the kernel's headers where those are installed. That the kernel takes the program, and that it bites inside a
 * real sandbox, is tested in process-sandbox.test.ts.
 */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { auditArchitectures, cloneNamespaceFlags, deniedCalls, inspectedCalls, isSeccompArchitecture, seccompProgram } from './seccomp.ts'
import type { SeccompArchitecture } from './seccomp.ts'

const allowed = 0x7fff0000
const killed = 0x80000000
const eperm = 0x00050001
const enosys = 0x00050026
const eafnosupport = 0x00050061

interface Call {
  readonly number: number
  readonly arguments?: readonly number[]
  readonly audit?: number
}

/** Runs the program as the kernel would. Returns the verdict. */
function verdict(architecture: SeccompArchitecture, call: Call, options?: { readonly paging: boolean }): number {
  const program = seccompProgram(architecture, options)
  const data = Buffer.alloc(64)
  data.writeUInt32LE(call.number >>> 0, 0)
  data.writeUInt32LE(call.audit ?? auditArchitectures[architecture], 4)
  for (const [index, argument] of (call.arguments ?? []).entries()) data.writeBigUInt64LE(BigInt(argument), 16 + index * 8)
  let accumulator = 0
  for (let at = 0; at < program.length; at += 8) {
    const opcode = program.readUInt16LE(at)
    const value = program.readUInt32LE(at + 4)
    if (opcode === 0x20) {
      accumulator = data.readUInt32LE(value)
    } else if (opcode === 0x06) {
      return value
    } else {
      const holds = opcode === 0x15 ? accumulator === value : opcode === 0x35 ? accumulator >= value : (accumulator & value) !== 0
      assert([0x15, 0x35, 0x45].includes(opcode), `opcode 0x${opcode.toString(16)}`)
      at += 8 * program.readUInt8(at + (holds ? 2 : 3))
    }
  }
  assert.fail('the program ran off its end')
}

const architectures: readonly SeccompArchitecture[] = ['x64', 'arm64']

for (const architecture of architectures) {
  const column = architecture === 'x64' ? 0 : 1
  const clone = inspectedCalls.clone[column]
  const socket = inspectedCalls.socket[column]

  describe(`seccomp filter for ${architecture}`, () => {
    test('lets a pager have userfaultfd for its own faults, and nothing else of the list', () => {
      const number = deniedCalls.userfaultfd[column]
      const paging = { paging: true }
      assert.equal(verdict(architecture, { number, arguments: [1] }, paging), 0x7fff0000)
      assert.equal(verdict(architecture, { number, arguments: [0] }, paging), 0x00050001)
      assert.equal(verdict(architecture, { number, arguments: [1] }), 0x00050001)
      for (const [name, numbers] of Object.entries(deniedCalls)) {
        if (name !== 'userfaultfd' && numbers[column] >= 0) assert.equal(verdict(architecture, { number: numbers[column], arguments: [1] }, paging), 0x00050001, name)
      }
    })

    test('denies every call of its list (F2)', () => {
      for (const [name, numbers] of Object.entries(deniedCalls)) {
        if (numbers[column] >= 0) assert.equal(verdict(architecture, { number: numbers[column] }), eperm, name)
      }
    })

    test('allows every other number below x32, whatever the arguments', () => {
      const special = new Set<number>([...Object.values(deniedCalls), ...Object.values(inspectedCalls)].map((numbers) => numbers[column]))
      const number = fc.integer({ min: 0, max: 0x3fffffff }).filter((value) => !special.has(value))
      fc.assert(fc.property(number, fc.array(fc.nat(), { maxLength: 6 }), (value, args) => verdict(architecture, { number: value, arguments: args }) === allowed))
    })

    test('kills a call of another architecture and hides x32 calls (F1)', () => {
      fc.assert(
        fc.property(fc.nat(500), fc.integer({ min: 0, max: 0xffffffff }), (number, audit) => {
          fc.pre(audit !== auditArchitectures[architecture])
          return verdict(architecture, { number, audit }) === killed
        }),
      )
      for (const number of [0x40000000, 0x40000000 + 59, 0xffffffff]) assert.equal(verdict(architecture, { number }), enosys)
    })

    test('lets clone make threads and processes, and no namespace (F3)', () => {
      const pthread = 0x3d0f00
      assert.equal(verdict(architecture, { number: clone, arguments: [pthread] }), allowed)
      assert.equal(verdict(architecture, { number: clone, arguments: [17 /* SIGCHLD */] }), allowed)
      for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
        assert(cloneNamespaceFlags & flag)
        assert.equal(verdict(architecture, { number: clone, arguments: [flag | 17] }), eperm)
      }
      assert.equal(verdict(architecture, { number: inspectedCalls.clone3[column] }), enosys)
    })

    test('lets personality be asked but not set', () => {
      const number = inspectedCalls.personality[column]
      assert.equal(verdict(architecture, { number, arguments: [0] }), allowed)
      assert.equal(verdict(architecture, { number, arguments: [0xffffffff] }), allowed)
      assert.equal(verdict(architecture, { number, arguments: [0x0040000 /* ADDR_NO_RANDOMIZE */] }), eperm)
    })

    test('opens sockets of the families a function needs only', () => {
      for (const family of [1, 2, 10]) assert.equal(verdict(architecture, { number: socket, arguments: [family, 1, 0] }), allowed)
      assert.equal(verdict(architecture, { number: socket, arguments: [16, 3, 0 /* ROUTE */] }), allowed)
      assert.equal(verdict(architecture, { number: socket, arguments: [16, 3, 12 /* NETFILTER */] }), eafnosupport)
      for (const family of [17 /* PACKET */, 38 /* ALG */, 40 /* VSOCK */]) {
        assert.equal(verdict(architecture, { number: socket, arguments: [family, 1, 0] }), eafnosupport)
      }
    })

    test('keeps programs from typing into a terminal, also with high bits set', () => {
      const number = inspectedCalls.ioctl[column]
      assert.equal(verdict(architecture, { number, arguments: [0, 0x5412] }), eperm)
      assert.equal(verdict(architecture, { number, arguments: [0, 2 ** 32 + 0x5412] }), eperm)
      assert.equal(verdict(architecture, { number, arguments: [0, 0x5413 /* TIOCGWINSZ */] }), allowed)
    })
  })

  const header = architecture === 'x64' ? '/usr/include/x86_64-linux-gnu/asm/unistd_64.h' : '/usr/include/asm-generic/unistd.h'
  test(`the numbers for ${architecture} are the kernel's`, { skip: existsSync(header) ? false : `no ${header} here` }, () => {
    const known = new Map<string, number>()
    for (const match of readFileSync(header, 'utf8').matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)) known.set(match[1]!, Number(match[2]))
    for (const [name, numbers] of Object.entries({ ...deniedCalls, ...inspectedCalls })) {
      // A header older than a call does not list it.
      const number = known.get(name)
      if (number !== undefined) assert.equal(numbers[column], number, name)
      else assert(numbers[column] === -1 || numbers[column] > 450, name)
    }
  })
}

test('knows which architectures it has a filter for', () => {
  assert.equal(isSeccompArchitecture('x64'), true)
  assert.equal(isSeccompArchitecture('riscv64'), false)
})
