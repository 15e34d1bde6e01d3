/**
 * Rebuilds the WebAssembly functions of test/functions/wasm from their C sources, beside which they are kept.
 *
 * They are in the repository, because most machines have no compiler for WASI. On Debian it is in the packages clang, lld,
 * wasi-libc and libclang-rt-14-dev-wasm32; elsewhere set WASI_CLANG to the clang of a wasi-sdk. Another compiler makes other bytes.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const repository = join(import.meta.dirname, '..')
const folder = join(repository, 'test/functions/wasm')
const common = ['--target=wasm32-wasi', '-Oz', '-Wall', '-Wextra', '-Werror', '-I', join(repository, 'runtimes/faaslet/wasi')]
/** What differs: a command keeps the names of its functions, which a stack shows. */
const flags: Readonly<Record<string, readonly string[]>> = { command: ['-Wl,--strip-debug'], reactor: ['-mexec-model=reactor', '-s'], objects: ['-mexec-model=reactor', '-s', '-O2'], lazy: ['-mexec-model=reactor', '-s'] }

for (const file of readdirSync(folder).filter((name) => name.endsWith('.c'))) {
  const name = file.slice(0, -2)
  const built = spawnSync(process.env['WASI_CLANG'] ?? 'clang', [...common, ...(flags[name] ?? ['-s']), '-o', `${name}.wasm`, file], { cwd: folder, stdio: 'inherit' })
  if (built.error !== undefined) console.error(`clang cannot be run: ${built.error.message}. Install clang, lld, wasi-libc and libclang-rt-14-dev-wasm32, or set WASI_CLANG.`)
  if (built.status !== 0) process.exit(1)
}
