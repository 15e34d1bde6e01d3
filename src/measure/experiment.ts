/**
 * The experiment file: what is sent to which functions, and what they are like.
 *
 * The format is STeLLAR's (thesis 3.3; src/setup/extract-configuration.go at 6e25342), and its 55 files are accepted unchanged. Defaults are its
 * defaults, and as there, null, "" and 0 stand for the default of fields that have one other than these. Fields of ours may stand in a
 * sub-experiment, or at the top for all of them: `openLoop`, `warmUp`, `stopRule`, `strict`, `keepAliveSeconds`, `referenceTransfer`. Two of the files set PackageType twice: the last counts.
 *
 * Where we differ: what the original ignores or replaces is an error here, with the line: unknown fields, other spellings, unknown words,
 * a missing service time. What the original accepts and does otherwise than one would think is accepted, done likewise unless `strict`, and told in `warnings`.
 * A chain without `Function` is the producer-consumer, as in the version that the thesis used; at 6e25342 it is hellopy, which passes nothing on.
 *
 *   E1. Every problem of a file is reported, in the order of its lines, each with file, line and field; of many, the first PROBLEMS_MAX. What
 *       contradicts itself is looked for when every setting by itself is right.
 *   E2. A parsed experiment has all values; nothing behind it knows a default.
 */
import * as z from 'zod'
import { PlatformError } from '#contract/errors.ts'
import { parseGoDuration } from './go-duration.ts'
import { locate, placeOf, plainValue, readJson } from './json-text.ts'
import type { JsonNode } from './json-text.ts'
import { samplesNeeded } from './statistics.ts'

export const FILE_BYTES_MAX = 1024 * 1024
export const PROBLEMS_MAX = 50
/** More requests at once than this and the client's network card is measured too; the original asks before it goes on. */
const BURST_WARN = 800

export const iatTypes = ['stochastic', 'deterministic', 'step'] as const
export type IatType = (typeof iatTypes)[number]

export const arrivalDistributions = ['poisson', 'equidistant'] as const

export interface ServiceTime {
  /** As the file has it; names of directories contain it. */
  readonly text: string
  readonly ms: number
}

const serviceTime = z.string().transform((text, context): ServiceTime => {
  const ms = parseGoDuration(text)
  if (ms !== undefined && ms >= 0) return { text, ms }
  context.issues.push({ code: 'custom', input: text, message: 'is no duration; write a number with ns, us, ms, s, m or h, as "1.5ms"' })
  return z.NEVER
})

const atLeastOne = z.int().min(1).max(1_000_000_000)
const share = z.number().gt(0).lt(1)

/** As Go fills in: the zero value of the type is the same as no value. */
function orDefault<T extends z.ZodType>(schema: T, byDefault: z.output<T> & z.core.util.NoUndefined<z.output<T>>) {
  return z.preprocess((value) => (value === '' || value === 0 ? undefined : value), z.optional(schema)).transform((value) => value ?? byDefault)
}

const openLoop = z.strictObject({
  /** Bursts per second over all endpoints, sent when due whether or not earlier ones were answered. */
  arrivalsPerSecond: z.number().gt(0).max(1_000_000),
  distribution: z.enum(arrivalDistributions).default('poisson'),
  /** Requests under way at once; one that is due above it is counted as not sent. */
  inFlightMax: z.int().min(1).max(1_000_000).default(10_000),
})
export type OpenLoop = z.infer<typeof openLoop>

const stopRule = z.strictObject({
  percentile: share.default(0.99),
  confidence: share.default(0.95),
  relativeError: share.default(0.05),
})

const ours = {
  openLoop: openLoop.optional(),
  /** Rounds before the first that counts: each endpoint gets one burst per round, and nothing of it is written. */
  warmUp: z.int().min(0).max(10_000).optional(),
  /** End before `Bursts` when the percentile is known well enough. */
  stopRule: stopRule.optional(),
  /** Do what the settings say where the original does something else (schedule.ts, csv.ts). */
  strict: z.boolean().optional(),
  /** How long an idle instance shall live, where a platform lets one say; so a cold start needs no IAT of ten minutes. */
  keepAliveSeconds: z.number().min(0).max(1_000_000).optional(),
  /** Transfer by the platform's own references (thesis chapter 6) rather than inline or through storage. */
  referenceTransfer: z.boolean().optional(),
}

const subExperiment = z.strictObject({
  Title: z.string().regex(/^[^/\\\u0000-\u001f]{0,120}$/, 'becomes part of a directory\'s name: at most 120 characters, without slashes').default(''),
  Bursts: atLeastOne,
  BurstSizes: z.array(z.int().min(1).max(100_000)).min(1).max(100_000),
  IATSeconds: z.number().min(0).max(1_000_000).optional(),
  IATType: z.literal('').or(z.enum(iatTypes)).optional(),
  DesiredServiceTimes: z.array(serviceTime).min(1).max(100_000),
  PayloadLengthBytes: z.int().min(0).max(2 ** 40).default(0),
  DataTransferChainLength: orDefault(atLeastOne.max(1000), 1),
  StorageTransfer: z.boolean().default(false),
  Parallelism: orDefault(atLeastOne.max(100_000), 1),
  FunctionMemoryMB: orDefault(atLeastOne.max(1_000_000), 128),
  FunctionImageSizeMB: z.number().min(0).max(1_000_000).default(0),
  PackageType: orDefault(z.enum(['Zip', 'Image', 'Container']), 'Zip'),
  Visualization: orDefault(z.string().regex(/^(?:cdf|histogram|all|none|bar(?:-\d+(?:\.\d+)?)?)$/, 'must be cdf, histogram, bar, bar-<milliseconds>, all or none'), 'cdf'),
  Function: z.string().max(256).default(''),
  Handler: orDefault(z.string().max(1024), 'main.lambda_handler'),
  Runtime: z.string().max(256).default(''),
  PackagePattern: orDefault(z.string().max(1024), '**'),
  SnapStartEnabled: z.boolean().default(false),
  CPUBoostEnabled: z.boolean().default(false),
  ...ours,
})

const experimentFile = z.strictObject({
  Sequential: z.boolean().default(false),
  Provider: orDefault(z.string().max(1024), 'aws'),
  Runtime: orDefault(z.string().max(256), 'python3.9'),
  SubExperiments: z.array(subExperiment).min(1).max(10_000),
  ...ours,
})

/** What the original computes and keeps in the same structure: a file that has it would be overruled without a word. */
const computed: readonly string[] = ['ID', 'BusySpinIncrements', 'Endpoints', 'Routes']

type SubExperimentSettings = z.output<typeof subExperiment>

/** The settings under the names of the file, with everything filled in. */
export type SubExperiment = Omit<SubExperimentSettings, 'IATSeconds' | 'IATType' | keyof typeof ours> & {
  /** Its place in the file, from 0; `-r` picks by it. */
  readonly index: number
  readonly IATSeconds: number
  readonly IATType: IatType
  readonly warmUp: number
  readonly strict: boolean
  readonly openLoop: OpenLoop | undefined
  readonly stopRule: z.output<typeof stopRule> | undefined
  readonly keepAliveSeconds: number | undefined
  readonly referenceTransfer: boolean
}

export interface Experiment {
  readonly Sequential: boolean
  readonly Provider: string
  readonly SubExperiments: readonly SubExperiment[]
  /** Settings that are done as the original does them, which is not what they say; file, line and field first. */
  readonly warnings: readonly string[]
}

interface Problem {
  readonly path: readonly PropertyKey[]
  readonly message: string
}

/** @param file How messages call the text. Throws JSON_INVALID for what is no JSON, INPUT_INVALID for what is no experiment. */
export function parseExperiment(text: string, file: string): Experiment {
  if (text.length > FILE_BYTES_MAX) throw new PlatformError('INPUT_INVALID', `${file}: ${text.length} characters, at most ${FILE_BYTES_MAX}: split the experiment into several files`)
  const repeated: { at: number; name: string }[] = []
  const root = readJson(text, file, (at, name) => repeated.push({ at, name }))
  const plain = plainValue(root)
  const parsed = experimentFile.safeParse(plain)
  if (!parsed.success) throw invalid(text, file, root, parsed.error.issues.flatMap((issue) => problemsOf(issue, plain)))
  const { Sequential, Provider, Runtime, SubExperiments, ...forAll } = parsed.data
  const contradictions: Problem[] = []
  const warnings: Problem[] = []
  const complete = SubExperiments.map((settings, index): SubExperiment => {
    const at = (field: keyof SubExperimentSettings): Problem['path'] => (field in forAll && settings[field] === undefined ? [field] : ['SubExperiments', index, field])
    const given: SubExperimentSettings = { ...forAll, ...withoutUndefined(settings) }
    contradictions.push(...contradictionsOf(given).map(({ field, message }) => ({ path: at(field), message })))
    const one = fillIn(given, index, Runtime)
    warnings.push(...warningsOf(one).map(({ field, message }) => ({ path: at(field), message })))
    return one
  })
  if (contradictions.length > 0) throw invalid(text, file, root, contradictions)
  const twice = repeated.map(({ at, name }) => `${file}:${placeOf(text, at).line}: ${name}: is set twice, and the last counts; keep one`)
  return { Sequential, Provider, SubExperiments: complete, warnings: [...twice, ...told(text, file, root, warnings).map(({ message }) => message)] }
}

function fillIn(given: SubExperimentSettings, index: number, runtime: string): SubExperiment {
  return {
    ...given, index,
    IATSeconds: given.IATSeconds ?? 0,
    IATType: given.IATType || 'stochastic',
    Function: given.Function || (given.DataTransferChainLength > 1 ? 'producer-consumer' : 'hellopy'),
    Runtime: given.Runtime || runtime,
    warmUp: given.warmUp ?? 0,
    strict: given.strict ?? false,
    openLoop: given.openLoop,
    stopRule: given.stopRule,
    keepAliveSeconds: given.keepAliveSeconds,
    referenceTransfer: given.referenceTransfer ?? false,
  }
}

/** So that what stands at the top is not hidden. */
function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T
}

interface FieldProblem {
  readonly field: keyof SubExperimentSettings
  readonly message: string
}

function contradictionsOf(given: SubExperimentSettings): FieldProblem[] {
  const problems: FieldProblem[] = []
  if (given.StorageTransfer && given.DataTransferChainLength < 2) {
    problems.push({ field: 'StorageTransfer', message: 'nothing is transferred in a chain of one function; set DataTransferChainLength to 2 or more' })
  }
  if (given.referenceTransfer && given.DataTransferChainLength < 2) {
    problems.push({ field: 'referenceTransfer', message: 'nothing is transferred in a chain of one function; set DataTransferChainLength to 2 or more' })
  }
  if (given.referenceTransfer && given.StorageTransfer) problems.push({ field: 'referenceTransfer', message: 'says how data is passed, and so does StorageTransfer; keep one of them' })
  if (given.openLoop !== undefined && (given.IATSeconds !== undefined || given.IATType)) {
    problems.push({ field: 'openLoop', message: 'says when bursts come, and so does IATSeconds or IATType; keep one of them' })
  }
  if (given.IATType && given.openLoop === undefined && !given.IATSeconds) {
    problems.push({ field: 'IATType', message: `${given.IATType} gaps of no length; set IATSeconds` })
  }
  if (given.stopRule !== undefined) {
    const needed = samplesNeeded(given.stopRule.percentile, given.stopRule.confidence)
    const most = samplesMax(given)
    const message = `percentile ${given.stopRule.percentile} needs ${needed} samples, and there are ${most} at most; raise Bursts or BurstSizes`
    if (most < needed) problems.push({ field: 'stopRule', message })
  }
  return problems
}

function warningsOf(one: SubExperiment): FieldProblem[] {
  const warnings: FieldProblem[] = []
  const { IATSeconds, IATType, strict } = one
  if (!strict && IATType === 'stochastic' && IATSeconds > 0 && IATSeconds < 1) {
    const message = `${IATSeconds}: below 1 s, the original's gaps are shorter than asked for, often none (0.5 gives 0.14 s on average); strict has no shorter one`
    warnings.push({ field: 'IATSeconds', message })
  }
  if (!strict && IATType === 'step') warnings.push({ field: 'IATType', message: 'step: the original\'s gaps do not grow; strict has 1 s, 2 s, … up to IATSeconds' })
  if (!strict && IATType !== 'stochastic' && !Number.isInteger(IATSeconds)) {
    warnings.push({ field: 'IATSeconds', message: `${IATSeconds}: the original cuts ${IATType} gaps to ${Math.trunc(IATSeconds)} s; strict has the fraction` })
  }
  const largest = one.BurstSizes.reduce((most, size) => Math.max(most, size), 0)
  if (largest > BURST_WARN) warnings.push({ field: 'BurstSizes', message: `${largest} requests at once, more than ${BURST_WARN}: the client's own network may be what is measured` })
  return warnings
}

/** Samples if every request is answered. Sizes are taken per round, so it is counted over the rounds. */
export function samplesMax(one: Pick<SubExperiment, 'Bursts' | 'BurstSizes' | 'Parallelism'>): number {
  const { Bursts, BurstSizes, Parallelism } = one
  const perCycle = BurstSizes.reduce((sum, size) => sum + size, 0) * Parallelism
  const cycle = BurstSizes.length * Parallelism
  let rest = Bursts % cycle
  let samples = Math.floor(Bursts / cycle) * perCycle
  for (let index = 0; rest > 0; index++) {
    const bursts = Math.min(rest, Parallelism)
    samples += bursts * BurstSizes[index]!
    rest -= bursts
  }
  return samples
}

/** The original gives up above this many failed requests. */
export function failuresMax(one: Pick<SubExperiment, 'Bursts' | 'BurstSizes'>): number {
  return Math.floor((one.Bursts * one.BurstSizes[0]!) / 10)
}

function problemsOf(issue: z.core.$ZodIssue, plain: unknown): Problem[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => ({ path: [...issue.path, key], message: unknownField(key, issue.path.length) }))
  if (issue.code === 'invalid_union') return [{ path: issue.path, message: `must be one of ${iatTypes.join(', ')}` }]
  const value = valueAt(plain, issue.path)
  const shown = value === undefined ? 'is missing' : (JSON.stringify(value) ?? '').slice(0, 60)
  return [{ path: issue.path, message: issue.code === 'invalid_type' && value === undefined ? `${shown}; set it` : `${shown}: ${issue.message}` }]
}

function unknownField(key: string, depth: number): string {
  if (depth === 2 && computed.includes(key)) return 'is computed from the other settings; remove it'
  const known = Object.keys(depth === 0 ? experimentFile.shape : depth === 2 ? subExperiment.shape : { ...openLoop.shape, ...stopRule.shape })
  const alike = known.find((name) => name.toLowerCase() === key.toLowerCase())
  return `is no setting${alike === undefined ? `; known are ${known.join(', ')}` : `; write ${alike}`}`
}

function valueAt(plain: unknown, path: readonly PropertyKey[]): unknown {
  let value = plain
  for (const step of path) value = value !== null && typeof value === 'object' ? (value as Readonly<Record<PropertyKey, unknown>>)[step] : undefined
  return value
}

function invalid(text: string, file: string, root: JsonNode, problems: readonly Problem[]): PlatformError {
  const all = told(text, file, root, problems)
  return new PlatformError('INPUT_INVALID', all.map(({ message }) => message).join('\n'), { details: { file, problems: all.map(({ line, field }) => ({ line, field })) } })
}

/** In the order of the lines, as `file:line: SubExperiments[3].Bursts: message`. */
function told(text: string, file: string, root: JsonNode, problems: readonly Problem[]): { readonly line: number; readonly field: string; readonly message: string }[] {
  return problems
    .map(({ path, message }) => ({ at: locate(root, path), field: fieldName(path), message }))
    .sort((a, b) => a.at - b.at)
    .slice(0, PROBLEMS_MAX)
    .map(({ at, field, message }) => ({ line: placeOf(text, at).line, field, message: `${file}:${placeOf(text, at).line}: ${field}: ${message}` }))
}

function fieldName(path: readonly PropertyKey[]): string {
  const name = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step).slice(0, 60)}`)).join('').replace(/^\./, '')
  return name === '' ? 'the file' : name
}
