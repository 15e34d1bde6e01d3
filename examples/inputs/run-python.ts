/** For tests: runs a function of a Python example by itself, without the platform. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { examplesDirectory } from './read-input.ts'

/** What stands in for the platform is one line: the request, whose body is standard input. */
const DRIVER = `
import importlib.util, json, sys, types
path, name, sdk = sys.argv[1:4]
sys.path.append(sdk)
import skep
skep.request = lambda: types.SimpleNamespace(stream=sys.stdin.buffer)
spec = importlib.util.spec_from_file_location('example', path)
example = importlib.util.module_from_spec(spec)
spec.loader.exec_module(example)
arguments = [json.loads(sys.argv[4]) if len(sys.argv) > 4 else json.load(sys.stdin)]
if name == 'handler':
    arguments.append(None)
print(json.dumps(getattr(example, name)(*arguments)))
`

export const withoutPython = spawnSync('python3', ['--version']).status === 0 ? false : 'there is no python3 on the PATH'

/** @param call.input Standard input; also the JSON of the event or params, unless `call.event` is given. */
export function runPython(file: string, name: string, call: { readonly input?: string | Buffer; readonly event?: object }): unknown {
  const args = ['-X', 'utf8', '-B', '-c', DRIVER, join(examplesDirectory, file), name, join(examplesDirectory, '..', 'runtimes', 'python')]
  const ended = spawnSync('python3', [...args, ...(call.event === undefined ? [] : [JSON.stringify(call.event)])], { input: call.input ?? '', encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 })
  if (ended.status !== 0) throw new Error(`python3 ended with ${ended.status ?? ended.signal}: ${ended.stderr}`)
  return JSON.parse(ended.stdout) as unknown
}
