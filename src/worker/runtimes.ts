/**
 * What runs inside a sandbox for each kind of function: the command, what it may see of the host, its environment.
 *
 * The runtimes' own code is mounted read-only at /skep (runtime-files.ts), the SDK where an import of `skep` finds it.
 */
import { join } from 'node:path'
import type { FunctionKind } from '#contract/function-config.ts'
import { nodeRuntimeFiles, pythonRuntimeFiles, sourceRoot } from './runtime-files.ts'
import { nodeRuntimeMounts, notShownBy, pythonRuntime, systemMounts } from './sandbox/runtime-mounts.ts'
import type { SandboxMount } from './sandbox/sandbox.ts'

export interface Runtime {
  readonly command: readonly string[]
  readonly mounts: readonly SandboxMount[]
  readonly environment: Readonly<Record<string, string>>
}

const INSIDE = '/skep/runtime'

export class Runtimes {
  readonly #known = new Map<FunctionKind, Promise<Runtime>>()
  readonly #directory: string
  readonly #warn: (message: string, error: unknown) => void

  /** @param options.directory Where prepared runtimes are kept. */
  constructor(options: { readonly directory: string; readonly warn: (message: string, error: unknown) => void }) {
    this.#directory = options.directory
    this.#warn = options.warn
  }

  /** @throws RUNTIME_MISSING, naming the command that installs it. Asked again the next time: it may be installed by then. */
  get(kind: FunctionKind): Promise<Runtime> {
    const known = this.#known.get(kind)
    if (known !== undefined) return known
    const found = kind === 'python' ? this.#python() : this.#node(kind)
    this.#known.set(kind, found)
    found.catch(() => this.#known.delete(kind))
    return found
  }

  /** Resolves when nothing is being prepared: whoever removes the directory must not have it made again. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#known.values())
  }

  async #python(): Promise<Runtime> {
    const python = await pythonRuntime()
    const files = await this.#prepared(pythonRuntimeFiles(this.#directory, python.command), 'runtimes/python')
    return {
      // Isolated, without the host's packages, without writing compiled files, text in UTF-8 whatever the host says.
      command: [python.command, '-I', '-S', '-B', '-X', 'utf8', `${INSIDE}/main.py`],
      mounts: [...python.mounts, { from: files, to: INSIDE }],
      environment: { PATH: '/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp', LANG: 'C.UTF-8' },
    }
  }

  async #node(kind: Exclude<FunctionKind, 'python'>): Promise<Runtime> {
    const bundled = await this.#prepared(nodeRuntimeFiles(this.#directory), undefined)
    const program = kind === 'node' ? 'main' : 'bridge'
    const source: SandboxMount[] = [
      { from: join(sourceRoot, 'runtimes/node'), to: '/skep/runtimes/node' },
      { from: join(sourceRoot, 'src/contract'), to: '/skep/src/contract' },
      { from: join(sourceRoot, 'package.json'), to: '/skep/package.json' },
    ]
    // Programs of kind command and http may need anything of the system; Node needs itself and its libraries.
    const system = kind === 'node' ? [] : systemMounts()
    const script = bundled === undefined ? `/skep/runtimes/node/${program}.ts` : `${INSIDE}/${program}.js`
    return {
      // The internals are for one thing: Node's own Request and Response are loaded when a function asks for them, not before.
      command: [process.execPath, '--expose-internals', script, ...(kind === 'node' ? [] : [kind])],
      mounts: [
        ...system,
        ...notShownBy(await nodeRuntimeMounts(process.execPath), system),
        ...(bundled === undefined ? source : [{ from: bundled, to: INSIDE }]),
        { from: join(sourceRoot, 'runtimes/node/sdk'), to: '/node_modules/skep' },
      ],
      environment: { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp' },
    }
  }

  /** The prepared files, or the ones of the checkout when that fails: slower to start, otherwise the same. */
  async #prepared<Otherwise extends string | undefined>(files: Promise<string>, otherwise: Otherwise): Promise<string | Otherwise> {
    try {
      return await files
    } catch (error) {
      this.#warn('the runtime could not be prepared: instances start more slowly', error)
      return (otherwise === undefined ? undefined : join(sourceRoot, otherwise)) as Otherwise
    }
  }
}
