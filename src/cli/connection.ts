/**
 * Which platform a client command talks to, and with which key.
 *
 * First --url and --key, then SKEP_URL and SKEP_KEY, then what a platform wrote into its data directory (credentials.json:
 * the key; server.json: where it listens, while it runs): SKEP_DATA, or the default of this user. Each value is looked for on its own, so that SKEP_KEY alone is enough
 * to be another tenant of the same platform.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PlatformError } from '#contract/errors.ts'
import type { CommandOptions } from './context.ts'

export interface Connection {
  /** Without a slash at the end. */
  readonly url: string
  readonly key: string
  /** Where to act, when it is said, or known from a credentials file. */
  readonly namespace: string | undefined
  /** Whether it was said: then every request names it. */
  readonly namespaceGiven: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** Where a platform keeps everything when nobody says: the XDG data home of this user. */
export function defaultDataDirectory(environment: Environment): string {
  const home = environment['XDG_DATA_HOME'] ?? join(environment['HOME'] ?? '.', '.local', 'share')
  return join(home, 'skep')
}

export function dataDirectory(given: string | undefined, environment: Environment): string {
  return given ?? nonEmpty(environment['SKEP_DATA']) ?? defaultDataDirectory(environment)
}

/** @throws SERVER_UNREACHABLE when no platform is named anywhere, INPUT_INVALID when its URL is none. */
export function findConnection(options: CommandOptions, environment: Environment): Connection {
  const url = options.url ?? nonEmpty(environment['SKEP_URL'])
  const key = options.key ?? nonEmpty(environment['SKEP_KEY'])
  const namespace = options.namespace ?? nonEmpty(environment['SKEP_NAMESPACE'])
  const directory = dataDirectory(undefined, environment)
  const written = url === undefined || key === undefined ? readWritten(directory) : undefined
  const foundUrl = url ?? written?.url
  if (foundUrl === undefined) {
    throw new PlatformError('SERVER_UNREACHABLE', `No platform is known: SKEP_URL is not set, and no platform runs on ${directory}. Start one with: skep up`)
  }
  if (!URL.canParse(foundUrl) || !/^https?:/.test(foundUrl)) {
    throw new PlatformError('INPUT_INVALID', `${JSON.stringify(foundUrl)} is not the URL of a platform. Give one like http://127.0.0.1:7070 in SKEP_URL or --url.`)
  }
  // The key of one platform is never sent to another one.
  const foundKey = key ?? (written?.url !== undefined && trimmed(written.url) === trimmed(foundUrl) ? written.key : undefined)
  return { url: trimmed(foundUrl), key: foundKey ?? '', namespace: namespace ?? (key === undefined ? written?.namespace : undefined), namespaceGiven: namespace !== undefined }
}

interface Written {
  readonly url?: string
  readonly key?: string
  readonly namespace?: string
}

function readWritten(directory: string): Written {
  const [server, credentials] = ['server.json', 'credentials.json'].map((name): Written => {
    try {
      return JSON.parse(readFileSync(join(directory, name), 'utf8')) as Written
    } catch {
      return {}
    }
  })
  return { ...credentials, ...server }
}

/** Tells clients where the platform of this data directory listens, until it is told that it does no more. */
export function announceServer(directory: string, url: string): { withdraw(): void } {
  const path = join(directory, 'server.json')
  writeFileSync(`${path}.${process.pid}`, `${JSON.stringify({ url, pid: process.pid })}\n`)
  renameSync(`${path}.${process.pid}`, path)
  return { withdraw: () => rmSync(path, { force: true }) }
}

function trimmed(url: string): string {
  return url.replace(/\/+$/, '')
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
