/**
 * `skep up`: a platform in this process, until a signal ends it.
 *
 * It installs nothing: what is missing is said, with what is lost and the command. With --json, standard output gets
 * exactly one line, when the platform is ready.
 */
import { resolve } from 'node:path'
import { announceServer, dataDirectory } from '../connection.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole } from '../format.ts'
import { installCommand, missingPackages } from '../system-packages.ts'
import { startHere, stopSignal } from '../start-here.ts'

export async function up(context: Context): Promise<number> {
  const { options } = context
  const missing = missingPackages(false)
  for (const one of missing) process.stderr.write(`skep: ${one.program} is missing: ${one.without}. Install it: ${installCommand([one])}\n`)
  const data = resolve(dataDirectory(options['data'] as string | undefined, process.env))
  // Listen for the end before the beginning: a signal while it starts must not leave half a platform.
  const stopped = stopSignal()
  const platform = await startHere({
    port: parseWhole('--port', String(options['port']), 0, 65_535),
    host: String(options['host']),
    dataDirectory: data,
    allowUnsandboxed: options['allowUnsandboxed'] === true,
  })
  const { url, namespace, key } = platform
  const announced = announceServer(data, url)
  if (context.json) process.stdout.write(`${JSON.stringify({ url, namespace, key, pid: process.pid })}\n`)
  else process.stdout.write(welcome({ url, namespace, key, data }, process.stdout.isTTY === true || options['pretty'] === true))
  const signal = await stopped
  context.note(`${signal}: stopping`)
  announced.withdraw()
  await platform.close()
  return exitCodes.ok
}

function welcome(ready: { readonly url: string; readonly namespace: string; readonly key: string; readonly data: string }, pretty: boolean): string {
  if (!pretty) return `ready at ${ready.url}\n`
  return [
    `Skep is ready at ${ready.url}`,
    `  namespace  ${ready.namespace}`,
    `  key        ${ready.key.slice(0, 8)}…  (whole in ${ready.data}/credentials.json)`,
    `  data       ${ready.data}`,
    '',
    'In another terminal:',
    ...(ready.data === dataDirectory(undefined, process.env) ? [] : [`  export SKEP_DATA=${ready.data}`]),
    '  skep deploy examples/hello.ts      deploy a file',
    "  skep invoke hello --data '{}'      run it, and see where the time went",
    '  skep logs hello -f                 follow what it prints',
    '',
    'Ctrl-C stops it.',
    '',
  ].join('\n')
}
