/**
 * The ten functions of bench/functions, built as a deploy would build them, with their two inputs: what the scenarios about cold
 * starts run (thesis, Table 5.1).
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import type { FunctionConfigInput } from '#contract/function-config.ts'
import { bundleOf, fileHere } from '../functions/here.ts'
import { inputOf, otherInputs } from '../functions/inputs.ts'
import type { Files } from './faaslet-lab.ts'

export interface ColdFunction {
  readonly name: string
  /** Its name in the thesis. */
  readonly standsFor: string
  readonly files: Files
  readonly config: FunctionConfigInput
  /** The input that is recorded with. */
  readonly recorded: Buffer
  /** Another one, which is replayed. */
  readonly replayed: Buffer
  /** Of callers in between. */
  readonly others: readonly Buffer[]
}

interface Listed {
  readonly name: string
  readonly kind: 'js' | 'wasm'
  readonly entry: string
  readonly memoryMb: number
  readonly standsFor: string
}

/** Those that show the most in the shortest time. */
const few: readonly string[] = ['hello', 'html-table', 'rnn-serving']

/** @param wanted Names; all when it is empty. @throws Error for a name that there is not. */
export function listFunctions(wanted: readonly string[], quick: boolean): readonly Listed[] {
  const listed = JSON.parse(readFileSync(fileHere('functions.json'), 'utf8')) as readonly Listed[]
  const names = wanted.length > 0 ? wanted : quick ? few : listed.map(({ name }) => name)
  return names.map((name) => {
    const found = listed.find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no function ${name}; choose of ${listed.map((one) => one.name).join(', ')}`)
    return found
  })
}

export async function buildColdFunction({ name, kind, entry, memoryMb, standsFor }: Listed): Promise<ColdFunction> {
  const path = fileHere(entry)
  const file = kind === 'js' ? 'index.js' : basename(entry)
  const bytes = kind === 'js' ? Buffer.from(await bundleOf(path)) : readFileSync(path)
  return {
    name,
    standsFor,
    files: new Map([[file, bytes]]),
    config: { kind, entry: file, memoryMb },
    recorded: await inputOf(name, 'record'),
    replayed: await inputOf(name, 'replay'),
    others: await Promise.all(otherInputs.map((which) => inputOf(name, which))),
  }
}
