/**
 * The tables that tidy.ts holds the source tree to. Changing how the folders may depend on each other is changing this file.
 */

/**
 * Which folder of src may import which others. `contract` and `base` may be imported by all, and import nothing else.
 *
 * Read from the top, it is the path of an invocation; below it the seams, then what a person uses. Types count too: an
 * interface that is needed from the other direction belongs into `contract`.
 */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  gateway: ['activator', 'registry', 'telemetry', 'store'],
  activator: ['autoscaler', 'scheduler', 'worker', 'registry', 'store', 'bus'],
  autoscaler: [],
  scheduler: ['worker', 'bus'],
  worker: ['pager', 'transfer', 'registry', 'telemetry', 'store', 'bus'],
  pager: [],
  transfer: ['pager'],
  registry: ['store'],
  telemetry: ['store'],
  store: [],
  bus: [],
  sdk: [],
  build: [],
  local: ['gateway', 'activator', 'autoscaler', 'scheduler', 'worker', 'transfer', 'registry', 'telemetry', 'store', 'bus', 'sdk'],
  measure: [],
  cli: ['build', 'local', 'worker', 'pager', 'gateway', 'measure'],
  contract: [],
  base: [],
}

/** What src may import that does not lie in src: the checks of faaslet code are the host's own, run without running the code. */
export const outsideArrows: readonly { readonly from: string; readonly to: string }[] = [
  { from: 'cli', to: 'scripts/' },
  { from: 'build', to: 'runtimes/faaslet/js/check-bundle.ts' },
  { from: 'build', to: 'runtimes/faaslet/wasm/check.ts' },
  { from: 'local', to: 'runtimes/faaslet/js/check-bundle.ts' },
  { from: 'local', to: 'runtimes/faaslet/wasm/check.ts' },
]

export const everyone: readonly string[] = ['contract', 'base']

export const LINES_MAX = 500

/** What must not stand in any file, with the reason. */
export const forbidden: readonly { readonly pattern: RegExp; readonly why: string; readonly except?: RegExp }[] = [
  { pattern: /\b(?:TODO|FIXME|XXX)\b/, why: 'do it, or write it down where plans are kept' },
  { pattern: /\bregistry\.[a-z0-9-]+\.(?:org|com|io|net)\b/i, why: 'a registry is configuration of the machine, not of the source' },
  { pattern: /"resolved": "https?:/, why: 'the lock file must not pin a registry (omit-lockfile-registry-resolved)' },
  { pattern: /(?<![\w.$}*-])\/(?:work|farm|root|home\/[a-z]+|Users\/\w+)\/[\w.]/, why: 'a path of one machine' },
]

/** One word, one meaning (docs/glossary.md): words of other platforms that name something which has a word here. */
export const words: readonly { readonly pattern: RegExp; readonly say: string; readonly only?: RegExp; readonly except?: RegExp }[] = [
  { pattern: /\binvokers?\b(?!\.ts)/, say: 'worker', only: /\.md$/, except: /glossary|openwhisk|papers|decisions/i },
  { pattern: /\bactivation id\b/i, say: 'invocation id', except: /glossary|openwhisk|contract\/ids/i },
  { pattern: /\bwarm containers?\b/i, say: 'ready instance', except: /glossary|openwhisk|papers|decisions/i },
]
