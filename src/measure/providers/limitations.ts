/**
 * What a provider would do otherwise than a sub-experiment says (V1): every setting compared with what the provider offers.
 *
 * One table for all providers, so that none forgets a setting: a provider says what it has, not what to look at.
 */
import { PlatformError } from '#contract/errors.ts'
import type { SubExperiment } from '../experiment.ts'
import type { FunctionName, Language } from '../functions/package.ts'
import type { Capabilities, Limitation } from '../provider.ts'
import { transferOf } from './stellar-protocol.ts'

export interface Offer {
  /** As a person calls it. */
  readonly name: string
  readonly capabilities: Capabilities
  /** Where it deploys: the range, MB. */
  readonly memoryMb?: { readonly min: number; readonly max: number }
  readonly imageMbMax?: number
  readonly keepAliveSeconds?: { readonly min: number; readonly max: number }
  /** Of a message between functions. */
  readonly inlineBytesMax?: number
  readonly snapStart?: boolean
  /** What a runtime's version becomes, as `the Python 3 of its host`; undefined where it is as asked for. */
  readonly versions?: Readonly<Partial<Record<Language, string>>>
}

/** Idle for so long, an instance is gone on most platforms: such gaps ask for cold starts. */
const COLD_IAT_SECONDS = 60

export function limitationsOf(one: SubExperiment, offer: Offer): readonly Limitation[] {
  const { name, capabilities: has } = offer
  const found: Limitation[] = []
  const add = (field: keyof SubExperiment, message: string): void => void found.push({ field, message: `${shown(one[field])}: ${message}` })
  const missing = missingTransfer(one, offer)
  if (missing !== undefined) found.push(missing)
  if (has.coldStarts !== 'keep-alive-set' && one.keepAliveSeconds !== undefined) {
    add('keepAliveSeconds', has.coldStarts === 'never' ? `instances on ${name} never end; no start is a cold one` : `${name} decides itself how long an idle instance lives; set IATSeconds above that`)
  } else if (has.coldStarts === 'never' && one.IATSeconds >= COLD_IAT_SECONDS) add('IATSeconds', `instances on ${name} never end; no start is a cold one, however long the gap`)
  else if (keepAliveFor(one, offer) !== one.keepAliveSeconds) add('keepAliveSeconds', `${name} keeps idle instances for ${offer.keepAliveSeconds!.min} to ${offer.keepAliveSeconds!.max} s; ${keepAliveFor(one, offer)} s are taken`)
  if (!has.deploys) {
    add('Function', `nothing is deployed on ${name}; what is measured is what stands at the endpoints, in whatever runtime`)
    return found
  }
  if (transferOf(one) === 'inline' && one.PayloadLengthBytes > (offer.inlineBytesMax ?? Infinity)) add('PayloadLengthBytes', `${name} refuses messages of more than ${offer.inlineBytesMax} bytes, so every request will fail`)
  const { language, functionName } = choiceOf(one)
  const deployed = functionFor(one, offer)
  if (functionName === undefined) add('Function', `is not among the functions of this tool; ${deployed.name} in ${deployed.language} is deployed instead`)
  else if (functionName !== deployed.name) add('Function', 'passes nothing on to a chain; producer-consumer is deployed instead')
  if (!/^(?:python|node)/.test(one.Runtime) && !/^hello(?:py|node)$/.test(one.Function)) add('Runtime', `the functions of this tool are in Node and Python; ${language} is taken`)
  else if (!has.runtimes.includes(language)) add('Runtime', `${name} runs ${has.runtimes.join(', ')}; ${deployed.language} is taken`)
  else if (offer.versions?.[language] !== undefined && one.Runtime.startsWith(language) && /\d/.test(one.Runtime)) add('Runtime', `${name} runs ${offer.versions[language]}`)
  if (one.Handler !== 'main.lambda_handler' || one.PackagePattern !== '**') add(one.Handler === 'main.lambda_handler' ? 'PackagePattern' : 'Handler', 'says what of the original\'s code is deployed; this tool deploys its own functions')
  if (!has.memory) add('FunctionMemoryMB', `${name} sets no limit of memory`)
  else if (memoryFor(one, offer) !== one.FunctionMemoryMB) add('FunctionMemoryMB', `${name} allows ${offer.memoryMb!.min} to ${offer.memoryMb!.max} MB; ${memoryFor(one, offer)} MB are taken`)
  if (one.FunctionImageSizeMB > 0 && !has.imageSize) add('FunctionImageSizeMB', `functions on ${name} are loaded as they are, without a filler`)
  else if (imageMbFor(one, offer) !== one.FunctionImageSizeMB) add('FunctionImageSizeMB', `${name} takes packages of at most ${offer.imageMbMax} MB; that is taken`)
  if (one.PackageType !== 'Zip') add('PackageType', `a package of files is deployed on ${name}, no image`)
  if (one.SnapStartEnabled && offer.snapStart !== true) add('SnapStartEnabled', `${name} has no such setting`)
  if (one.CPUBoostEnabled) add('CPUBoostEnabled', `${name} has no such setting`)
  return found
}

/** The transfer asked for, where it can't be done at all. */
function missingTransfer(one: SubExperiment, { name, capabilities }: Offer): Limitation | undefined {
  const transfer = transferOf(one)
  if (capabilities.transfers.includes(transfer)) return undefined
  const field = transfer === 'reference' ? 'referenceTransfer' : transfer === 'storage' ? 'StorageTransfer' : 'DataTransferChainLength'
  return { field, message: `${shown(one[field])}: ${name} has no transfer of the kind ${transfer}, but ${capabilities.transfers.join(', ')}; the sub-experiment is not run`, prevents: true }
}

/** @throws INPUT_INVALID for what can't be done otherwise, and so not at all. */
export function refuseImpossible(one: SubExperiment, offer: Offer): void {
  const missing = missingTransfer(one, offer)
  if (missing !== undefined) throw new PlatformError('INPUT_INVALID', `${missing.field}: ${missing.message}.`)
}

/** Which of our functions a sub-experiment means; undefined for none. */
export function choiceOf(one: Pick<SubExperiment, 'Function' | 'Runtime' | 'DataTransferChainLength'>): { readonly functionName: FunctionName | undefined; readonly language: Language } {
  const { Function, Runtime } = one
  const byRuntime = Runtime.startsWith('python') ? 'python' : 'node'
  if (Function === 'hellopy') return { functionName: 'busy-spin', language: 'python' }
  if (Function === 'hellonode') return { functionName: 'busy-spin', language: 'node' }
  if (Function === 'producer-consumer' || Function === 'busy-spin' || Function === 'trace-work') return { functionName: Function, language: byRuntime }
  return { functionName: undefined, language: byRuntime }
}

/** The function to deploy; a chain has to be one that passes on, whatever the file calls it. */
export function functionFor(one: SubExperiment, offer: Offer): { readonly name: FunctionName; readonly language: Language } {
  const chosen = choiceOf(one).functionName ?? 'busy-spin'
  return { name: one.DataTransferChainLength > 1 ? 'producer-consumer' : chosen, language: languageFor(one, offer.capabilities) }
}

function languageFor(one: SubExperiment, capabilities: Capabilities): Language {
  const { language } = choiceOf(one)
  return capabilities.runtimes.includes(language) ? language : (capabilities.runtimes[0] as Language)
}

export function memoryFor(one: SubExperiment, { memoryMb }: Offer): number {
  return Math.max(memoryMb?.min ?? 0, Math.min(memoryMb?.max ?? Infinity, one.FunctionMemoryMB))
}

export function keepAliveFor(one: SubExperiment, { keepAliveSeconds }: Offer): number | undefined {
  if (one.keepAliveSeconds === undefined) return undefined
  return Math.max(keepAliveSeconds?.min ?? 0, Math.min(keepAliveSeconds?.max ?? Infinity, one.keepAliveSeconds))
}

export function imageMbFor(one: SubExperiment, { imageMbMax = Infinity }: Offer): number {
  return Math.min(imageMbMax, one.FunctionImageSizeMB)
}

function shown(value: unknown): string {
  return String(value === undefined ? 'not set' : typeof value === 'object' ? JSON.stringify(value) : value).slice(0, 60)
}
