/**
 * The runtime of kinds `command` and `http`: runs inside the sandbox and puts frames before a program that knows none.
 *
 *   node bridge.ts command      one process of the program per invocation, standard input to standard output
 *   node bridge.ts http         the program runs once and serves HTTP on $PORT of its private network
 */
import { Host } from './host.ts'
import { Output } from './output.ts'

const root = process.env['SKEP_APP_DIR'] ?? '/app'
const host = new Host()
const output = new Output(host.channel, () => 0)
output.install()
if (process.argv[2] === 'http') {
  const { HttpInstance } = await import('./bridge/http-instance.ts')
  host.serve(new HttpInstance(output, root))
  host.hello('http')
} else {
  const { CommandInstance } = await import('./bridge/command-instance.ts')
  host.serve(new CommandInstance(output, root))
  host.hello('command')
}
