'use strict'
/**
 * The first file that Node loads inside a sandbox: it runs the bundle beside it, from the code that V8 compiled before.
 *
 * bundle.ts puts a copy beside each bundle: `main.cjs` runs `main.js` with what `main.cache` holds. The bundle is one
 * function of CommonJS's `require` and its kind, in ASCII, so that it is read as it is. CommonJS, because loading one
 * file of an ES module takes 3 ms more.
 *
 * The cache is in its file twice: V8 checks its own version and flags, but not that the rest is intact, and crashes if it
 * is not. Comparing two copies takes 20 µs, and no module need be loaded for it. Without a cache, or with one that
 * is of no use, V8 compiles: that costs time and nothing else.
 */
const { readFileSync } = require('node:fs')
const { constants, Script } = require('node:vm')

const bundle = __filename.replace(/\.cjs$/, '.js')

/** The bundle as a script that has not run. */
function load() {
  return new Script(readFileSync(bundle, 'latin1'), {
    filename: bundle,
    cachedData: readCache(),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  })
}

function readCache() {
  try {
    const twice = readFileSync(bundle.replace(/\.js$/, '.cache'))
    const half = twice.subarray(0, twice.length / 2)
    return half.length > 0 && half.equals(twice.subarray(half.length)) ? half : undefined
  } catch {
    return undefined
  }
}

/** @param {Script} script What `load` gave. */
function run(script) {
  script.runInThisContext()(require, bundle)
}

if (require.main === module) {
  // The user's code is no module of this program: it finds no main module, as under an ES module.
  process.mainModule = undefined
  run(load())
} else module.exports = { load, run }
