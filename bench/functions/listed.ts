/**
 * The list of functions (functions.json), for whoever boots, deploys or measures them, and what each is known to answer.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileHere, Here } from './here.ts'
import { inputOf, whichInputs, type WhichInput } from './inputs.ts'

export interface ListedFunction {
  readonly name: string
  readonly kind: 'js' | 'wasm'
  /** Below this folder. */
  readonly entry: string
  readonly memoryMb: number
  /** Its name in Table 5.1 of the thesis. */
  readonly standsFor: string
}

export function listedFunctions(): readonly ListedFunction[] {
  return JSON.parse(readFileSync(fileHere('functions.json'), 'utf8')) as readonly ListedFunction[]
}

/** @throws Error when there is none of this name. */
export function bootListed(name: string): Promise<Here> {
  const found = listedFunctions().find((one) => one.name === name)
  if (found === undefined) throw new Error(`There is no benchmark function "${name}"; functions.json lists them.`)
  return Here.boot({ kind: found.kind, path: fileHere(found.entry), memoryMb: found.memoryMb })
}

/** Whether an answer is the known one: short ones are kept as they are, long ones as length and SHA-256. */
export function isKnownAnswer(name: string, which: WhichInput, answer: Uint8Array): boolean {
  const known = JSON.parse(readFileSync(fileHere('answers.json'), 'utf8')) as Readonly<Record<string, Readonly<Record<WhichInput, string>>>>
  return known[name]?.[which] === brief(answer)
}

const SHOWN_BYTES_MAX = 500

function brief(answer: Uint8Array): string {
  return answer.length <= SHOWN_BYTES_MAX ? Buffer.from(answer).toString() : `${answer.length} bytes, SHA-256 ${createHash('sha256').update(answer).digest('hex')}`
}

// Run alone, it writes answers.json anew: after a function was changed on purpose, and its tests but this one pass.
if (import.meta.main) {
  const answers: Record<string, Record<string, string>> = {}
  for (const { name } of listedFunctions()) {
    const here = await bootListed(name)
    answers[name] = {}
    for (const which of whichInputs) answers[name][which] = brief(await here.invoke(await inputOf(name, which)))
  }
  writeFileSync(fileHere('answers.json'), `${JSON.stringify(answers, undefined, 2)}\n`)
}
