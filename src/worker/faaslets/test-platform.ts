/**
 * A platform small enough to be killed in a test: starts one faaslet on the data directory that it is given, prints the pid of its
 * host's sandbox when it runs, and stays.
 */
import { once } from 'node:events'
import { FaasletSandboxProvider, faasletCommands } from './faaslet-sandbox.harness.ts'

const [, , dataDirectory, runtimes] = process.argv
if (dataDirectory === undefined || runtimes === undefined) throw new Error('usage: test-platform.ts DATA_DIRECTORY RUNTIMES')
const provider = new FaasletSandboxProvider({ dataDirectory, runtimes })
const limits = { memoryMb: 256, cpu: 1, pidsMax: 64 }
const sandbox = await provider.start({ id: 'victim', command: faasletCommands.orphan, mounts: [], environment: {}, limits, network: 'none', tmpBytesMax: 0 })
await once(sandbox.channel, 'data')
console.log(sandbox.pid)
