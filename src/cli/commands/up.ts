/**
 * `skep up`: a platform in this process, until a signal ends it.
 *
 * It installs nothing: what is missing is said, with what is lost and the command. With --json, standard output gets
 * exactly one line, when the platform is ready.
 */
import { resolve } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { WorkerConfig } from '#worker/config.ts'
import { announceServer, dataDirectory } from '../connection.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { parseWhole } from '../format.ts'
import { installCommand, missingPackages } from '../system-packages.ts'
import { startHere, stopSignal } from '../start-here.ts'

/** Each takes some 45 MB: more than this is a slip of the finger. */
const STEM_CELLS_MAX = 1000

export async function up(context: Context): Promise<number> {
  const { options } = context
  const worker = options['stemCells'] === undefined ? undefined : { stemCells: stemCells(String(options['stemCells'])) }
  const callbackHosts = ((options['callbackHost'] as string[] | undefined) ?? []).map(callbackHost)
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
    callbackHosts,
    ...(worker !== undefined && { worker }),
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

/** Python's are half of Node's: they start in half the time, and fewer functions are written in it. */
function stemCells(text: string): NonNullable<WorkerConfig['stemCells']> {
  const node = parseWhole('--stem-cells', text, 0, STEM_CELLS_MAX)
  return { node, python: Math.ceil(node / 2) }
}

/** As it stands in an address: lower case, without a port. @throws INPUT_INVALID. */
function callbackHost(text: string): string {
  const url = URL.canParse(`http://${text}`) ? new URL(`http://${text}`) : undefined
  if (url !== undefined && url.host === url.hostname && url.href === `http://${url.host}/`) return url.hostname
  throw new PlatformError('INPUT_INVALID', `--callback-host is ${JSON.stringify(text)}: it must be a host alone, such as hooks.example.com or 10.0.0.5, without scheme, port or path.`)
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
