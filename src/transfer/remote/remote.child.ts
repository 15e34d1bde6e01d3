/**
 * A worker's end of the transfer plane in a process of its own, for network.test.ts.
 *
 *   producer ADDRESS BYTES          serves object `o` of so many bytes; prints its port and the SHA-256 of the object
 *   consumer ADDRESS PORT           gets it, prints `first` when it has the first bytes, and goes on when it is told to; prints the SHA-256, or the error's code
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { systemClock } from '#base/clock.ts'
import { PlatformError } from '#contract/errors.ts'
import { sharedMemory } from '../shared-memory.ts'
import { makeCredentials } from './certificates.ts'
import { remoteDefaults } from './config.ts'
import { CountingObjects, GROUP_KEY, someBytes } from './remote.fake.ts'
import { TransferClient } from './transfer-client.ts'
import { TransferServer } from './transfer-server.ts'

const [role, host, last] = process.argv.slice(2) as [string, string, string]
const say = (line: string): void => void process.stdout.write(`${line}\n`)
const credentials = makeCredentials(role, [GROUP_KEY])

if (role === 'producer') {
  const bytes = someBytes(Number(last))
  const objects = new CountingObjects()
  objects.put('o', bytes)
  const server = await TransferServer.listen({ address: { host, port: 0 }, credentials, objects, memory: sharedMemory(), config: remoteDefaults })
  say(`${server.address.port} ${createHash('sha256').update(bytes).digest('hex')}`)
  // Until its parent is gone.
  await once(process.stdin.resume(), 'end')
  process.exit(0)
} else {
  const client = new TransferClient({ config: remoteDefaults, clock: systemClock, credentials, directory: { find: () => ({ host, port: Number(last) }) } })
  const hash = createHash('sha256')
  try {
    const pull = await client.pull('producer', 'o')
    await once(pull.stream, 'readable')
    say('first')
    await once(process.stdin, 'data')
    for await (const piece of pull.stream) hash.update(piece as Buffer)
    pull.done()
    say(hash.digest('hex'))
  } catch (thrown) {
    say(thrown instanceof PlatformError ? thrown.code : String(thrown))
  }
  client.close()
  process.exit(0)
}
