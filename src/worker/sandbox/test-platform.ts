/**
 * A platform small enough to be killed in a test: starts one sandbox on the data directory that it is given, prints the sandbox's
 * pid when the program inside is ready, and stays.
 */
import { ProcessSandboxProvider } from './process-sandbox.ts'
import { nodeRuntimeMounts } from './runtime-mounts.ts'
import { nodeCommands } from './test-programs.ts'

const dataDirectory = process.argv[2]
if (dataDirectory === undefined) throw new Error('usage: test-platform.ts DATA_DIRECTORY')
const provider = new ProcessSandboxProvider({ dataDirectory })
const sandbox = await provider.start({
  id: 'victim',
  command: nodeCommands(process.execPath).orphan,
  mounts: await nodeRuntimeMounts(process.execPath),
  environment: {},
  limits: { memoryMb: 256, cpu: 1, pidsMax: 64 },
  network: 'none',
  tmpBytesMax: 1024 * 1024,
})
sandbox.channel.once('data', () => console.log(sandbox.pid))
