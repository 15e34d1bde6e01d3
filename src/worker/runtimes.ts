/**
 * What runs inside a sandbox for each kind of function: the command, what it may see of the host, its environment.
 *
 * The runtimes' own code is mounted read-only at /skep (runtime-files.ts), with what Node is linked with; links lead there from where
 * programs look. Each mount lengthens a start by 0.1 ms.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { FaasletKind, FunctionKind } from '#contract/function-config.ts'
import { ADDON_FILE, faasletHostFiles, LIBRARIES_DIRECTORY, mayRun, nodeRuntimeFiles, pythonRuntimeFiles, sourceRoot } from './runtime-files.ts'
import { nodeRuntimeMounts, notShownBy, pythonRuntime, systemMounts } from './sandbox/runtime-mounts.ts'
import type { SandboxMount } from './sandbox/sandbox.ts'

export interface Runtime {
  readonly command: readonly string[]
  readonly mounts: readonly SandboxMount[]
  readonly environment: Readonly<Record<string, string>>
}

const INSIDE = '/skep/runtime'
/**
 * WebAssembly is compiled when it comes, and not function by function while the first faaslets run. The engine's stack fits into V8's
 * (runtimes/faaslet/js/guest.ts HOST_STACK_KB), and one that waits has 512 KB of addresses for it. V8 counts a module's whole code with each
 * of its instances as external memory, of which 64 MB begin a collection of everything: each 42 invocations, and 5 ms in the 99th percentile.
 * Counted with the heap, and with 256 MB for both, that is each 400.
 */
const FAASLET_FLAGS: readonly string[] = ['--no-wasm-lazy-compilation', '--stack-size=3900', '--wasm-stack-switching-stack-size=512', '--external-memory-accounted-in-global-limit', '--initial-old-space-size=256']

export class Runtimes {
  readonly #known = new Map<FunctionKind | 'faaslet', Promise<Runtime>>()
  readonly #directory: string
  readonly #warn: (message: string, error: unknown) => void

  /** @param options.directory Where prepared runtimes are kept. */
  constructor(options: { readonly directory: string; readonly warn: (message: string, error: unknown) => void }) {
    this.#directory = options.directory
    this.#warn = options.warn
  }

  /** @throws RUNTIME_MISSING, naming the command that installs it. Asked again the next time: it may be installed by then. */
  get(kind: Exclude<FunctionKind, FaasletKind> | 'faaslet'): Promise<Runtime> {
    const known = this.#known.get(kind)
    if (known !== undefined) return known
    const found = kind === 'python' ? this.#python() : kind === 'faaslet' ? this.#faaslet() : this.#node(kind)
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

  /** The host of faaslets: Node with the program of runtimes/faaslet; what guests need is inside of it. */
  async #faaslet(): Promise<Runtime> {
    const mounts = await nodeRuntimeMounts(process.execPath)
    const files = await faasletHostFiles(this.#directory)
    return {
      command: [process.execPath, ...FAASLET_FLAGS, `${INSIDE}/main.js`],
      mounts: [...mounts, { from: files, to: INSIDE }],
      environment: { PATH: '/usr/bin:/bin', HOME: '/tmp', TMPDIR: '/tmp', SKEP_NATIVE: `${INSIDE}/${ADDON_FILE}` },
    }
  }

  async #node(kind: 'node' | 'command' | 'http'): Promise<Runtime> {
    const [node, ...libraries] = await nodeRuntimeMounts(process.execPath)
    const files = await this.#prepared(nodeRuntimeFiles(this.#directory, libraries.map(({ from }) => from)), undefined)
    const program = kind === 'node' ? 'main' : 'bridge'
    // Programs of kind command and http may need anything of the system; Node needs itself and its libraries.
    const system = kind === 'node' ? [] : systemMounts()
    const hostFiles = kind === 'node' && files !== undefined ? await librariesOf(files, libraries) : notShownBy(libraries, system)
    return {
      command: [process.execPath, ...nodeFlags, files === undefined ? `/skep/runtimes/node/${program}.ts` : `${INSIDE}/${program}.cjs`, ...(kind === 'node' ? [] : [kind])],
      mounts: [...system, ...notShownBy([node!], system), ...(files === undefined ? checkout : preparedIn(files)), ...hostFiles],
      environment: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: '/tmp',
        TMPDIR: '/tmp',
        // Programs of other kinds know no frames, and are passed no memory.
        ...(kind === 'node' && files !== undefined && existsSync(join(files, ADDON_FILE)) && { SKEP_NATIVE: `${INSIDE}/${ADDON_FILE}` }),
      },
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

/**
 * The internals are for one thing: Node's own Request and Response are loaded when a function asks for them, not before. With 2 MB
 * for new objects instead of 1 the first garbage collection, 0.6 to 3 ms, comes after the first answer and not before.
 */
const nodeFlags: readonly string[] = ['--expose-internals', '--min-semi-space-size=2']

/** Where an import of `skep` finds the SDK. */
const SDK = '/node_modules/skep'

/** The runtime as it is in the source tree. */
const checkout: readonly SandboxMount[] = [
  { from: join(sourceRoot, 'runtimes/node'), to: '/skep/runtimes/node' },
  { from: join(sourceRoot, 'src/contract'), to: '/skep/src/contract' },
  { from: join(sourceRoot, 'package.json'), to: '/skep/package.json' },
  { from: join(sourceRoot, 'runtimes/node/sdk'), to: SDK },
]

function preparedIn(files: string): readonly SandboxMount[] {
  return [
    { from: files, to: INSIDE },
    { from: `${INSIDE}/sdk`, to: SDK, isLink: true },
  ]
}

/** The libraries, as links to the copies that the one mount shows; as mounts where nothing may be run from the copies. */
async function librariesOf(files: string, libraries: readonly SandboxMount[]): Promise<readonly SandboxMount[]> {
  if (libraries[0] === undefined || !(await mayRun(join(files, LIBRARIES_DIRECTORY, libraries[0].from)))) return libraries
  return libraries.map(({ from, to }) => ({ from: `${INSIDE}/${LIBRARIES_DIRECTORY}${from}`, to, isLink: true }))
}
