/**
 * The runtime of kind `node`: runs inside the sandbox, one process per instance.
 *
 *   node main.ts                                     speaks frames on descriptor 3 (contract/frames.ts)
 *   node main.ts --make-compile-cache ENTRY DIR      loads /app/ENTRY once and sends V8's compiled code (compile-cache.ts)
 *
 * It starts without a function (a stem cell) and says hello as early as it can: it loads little, and Node's fetch classes
 * not at all until a function needs them (web/real.ts; start Node with --expose-internals for that). The code's directory
 * is /app, or SKEP_APP_DIR where there is no sandbox.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { Host, wholeProcess } from './host.ts'
import type { Invocation } from './invocation.ts'
import { Memory } from './memory.ts'
import { NodeInstance } from './node-instance.ts'
import { Output } from './output.ts'
import { installLightGlobals } from './web/install.ts'

const root = process.env['SKEP_APP_DIR'] ?? '/app'

if (process.argv[2] === '--make-compile-cache') {
  // Not awaited at the top level: the bundler may let that module import this one, which would then wait for itself.
  void import('./compile-cache.ts').then(({ makeCompileCache }) => makeCompileCache(root, process.argv[3] ?? '', process.argv[4] ?? ''))
} else start()

function start(): void {
  const host = new Host({ ...wholeProcess, memory: Memory.find() })
  const context = new AsyncLocalStorage<Invocation>()
  const output = new Output(host.channel, () => context.getStore()?.stream ?? 0)
  output.install()
  installLightGlobals()
  const instance = new NodeInstance(host, output, context, root)
  host.serve(instance)
  host.hello('node')
  // A function that was waiting has been read by now. A stem cell has time: loading any module makes Node's loader ready for the
  // function's, and this one is what functions import most.
  setImmediate(() => {
    if (!instance.isAssigned) import(new URL('./sdk/index.js', import.meta.url).href).catch(() => {})
  })
}
