/**
 * Rebuilds the WebAssembly functions of this folder from their C sources, beside which they are kept.
 *
 * They are in the repository, because most machines have no compiler for WASI: see scripts/build-wasm.ts for which one makes
 * the same bytes. Those of test/functions are built for size, these for speed: with SIMD, as the native libraries of the originals.
 */
import { spawnSync } from 'node:child_process'

const flags = ['--target=wasm32-wasi', '-O3', '-msimd128', '-Wall', '-Wextra', '-Werror', '-mexec-model=reactor', '-s']
const modules: Readonly<Record<string, readonly string[]>> = {
  'image-rotate/image-rotate.wasm': ['image-rotate/image-rotate.c', 'common/jpeg.c', 'common/jpeg-encode.c'],
  'video-gray/video-gray.wasm': ['video-gray/video-gray.c', 'common/jpeg.c', 'common/jpeg-encode.c'],
  'cnn-serving/cnn-serving.wasm': ['cnn-serving/cnn-serving.c', 'common/jpeg.c'],
  'rnn-serving/rnn-serving.wasm': ['rnn-serving/rnn-serving.c'],
  'lr-training/lr-training.wasm': ['lr-training/lr-training.c'],
  'common/draw.wasm': ['common/draw.c', 'common/jpeg.c', 'common/jpeg-encode.c'],
}

for (const [module, sources] of Object.entries(modules)) {
  const args = [...flags, '-o', module, ...sources]
  const { status, error } = spawnSync(process.env['WASI_CLANG'] ?? 'clang', args, { cwd: import.meta.dirname, stdio: 'inherit' })
  if (error !== undefined) console.error(`clang cannot be run: ${error.message}. Install clang, lld, wasi-libc and libclang-rt-14-dev-wasm32, or set WASI_CLANG.`)
  if (status !== 0) process.exit(1)
  console.log(`clang ${args.join(' ')}`)
}
