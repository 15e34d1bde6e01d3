/**
 * Goal: a faaslet keeps the promises of every sandbox (sandbox.ts S1 to S5), in a host that it shares.
 * Method: the conformance suite with a C program as the inside; for what has another form see faaslet-sandbox.harness.ts.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { runSandboxConformance } from '../sandbox/sandbox.conformance.ts'
import { workerSkip } from '../worker.harness.ts'
import { FaasletSandboxProvider, faasletCommands, faasletForms } from './faaslet-sandbox.harness.ts'

const runtimes = mkdtempSync(join(tmpdir(), 'skep-runtimes-'))
after(() => rmSync(runtimes, { recursive: true, force: true }))

runSandboxConformance({
  kind: 'faaslet',
  newProvider: (dataDirectory) => new FaasletSandboxProvider({ dataDirectory, runtimes }),
  common: async () => ({ mounts: [], environment: {} }),
  commands: faasletCommands,
  platform: (dataDirectory) => [process.execPath, join(import.meta.dirname, 'test-platform.ts'), dataDirectory, runtimes],
  forms: faasletForms,
  skip: workerSkip,
})
