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
// Not awaited at the top level: the bundle is a CommonJS module, which cannot. Each loads only what its kind needs.
if (process.argv[2] === 'http') {
  void import('./bridge/http-instance.ts').then(({ HttpInstance }) => {
    host.serve(new HttpInstance(output, root))
    host.hello('http')
  })
} else {
  void import('./bridge/command-instance.ts').then(({ CommandInstance }) => {
    host.serve(new CommandInstance(output, root))
    host.hello('command')
  })
}
