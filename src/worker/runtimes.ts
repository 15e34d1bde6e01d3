/**
 * What runs inside a sandbox for each kind of function: the command, what it may see of the host, its environment.
 *
 * The runtimes' own code (folder `runtimes/`) is mounted read-only at /skep, the SDK where an import of `skep` finds it.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { FunctionKind } from '#contract/function-config.ts'
import { hostNetworkMounts, nodeRuntimeMounts, pythonRuntime, systemMounts } from './sandbox/runtime-mounts.ts'
import type { SandboxMount } from './sandbox/sandbox.ts'

export interface Runtime {
  readonly command: readonly string[]
  readonly mounts: readonly SandboxMount[]
  /** Added when the sandbox uses the host's network: name resolution and certificates. */
  readonly hostNetworkMounts: readonly SandboxMount[]
  readonly environment: Readonly<Record<string, string>>
}

const root = fileURLToPath(new URL('../..', import.meta.url))

export class Runtimes {
  readonly #known = new Map<FunctionKind, Promise<Runtime>>()
  readonly #compileCache: string

  /** @param options.compileCache Directory with compiled forms of the runtimes' own files; used when it exists. */
  constructor(options: { readonly compileCache: string }) {
    this.#compileCache = options.compileCache
  }

  /** @throws RUNTIME_MISSING, naming the command that installs it. Asked again the next time: it may be installed by then. */
  get(kind: FunctionKind): Promise<Runtime> {
    const known = this.#known.get(kind)
    if (known !== undefined) return known
    const found = this.#find(kind)
    this.#known.set(kind, found)
    found.catch(() => this.#known.delete(kind))
    return found
  }

  async #find(kind: FunctionKind): Promise<Runtime> {
    if (kind === 'python') {
      const python = await pythonRuntime()
      return {
        command: [python.command, '-I', '-B', '/skep/runtimes/python/main.py'],
        mounts: [...python.mounts, { from: join(root, 'runtimes/python'), to: '/skep/runtimes/python' }],
        hostNetworkMounts: hostNetworkMounts(),
        environment: { PATH: '/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp', LANG: 'C.UTF-8' },
      }
    }
    const program = kind === 'node' ? 'main.ts' : 'bridge.ts'
    const cached = existsSync(this.#compileCache)
    return {
      command: [process.execPath, '--disable-warning=ExperimentalWarning', `/skep/runtimes/node/${program}`],
      mounts: [
        // Programs of kind command and http may need anything of the system; Node needs itself and its libraries.
        ...(kind === 'node' ? [] : systemMounts()),
        ...(await nodeRuntimeMounts(process.execPath)),
        { from: join(root, 'runtimes/node'), to: '/skep/runtimes/node' },
        { from: join(root, 'src/contract'), to: '/skep/src/contract' },
        { from: join(root, 'package.json'), to: '/skep/package.json' },
        { from: join(root, 'runtimes/node/sdk'), to: '/node_modules/skep' },
        ...(cached ? [{ from: this.#compileCache, to: '/skep/compile-cache' }] : []),
      ],
      hostNetworkMounts: hostNetworkMounts(),
      environment: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: '/tmp',
        TMPDIR: '/tmp',
        ...(cached && { NODE_COMPILE_CACHE: '/skep/compile-cache' }),
      },
    }
  }
}
