/**
 * What a deployment does beside writing a revision down: it looks at code of faaslet kinds before, and starts an instance after.
 *
 *   check ──▶ revision, without traffic ──▶ prepare ──▶ traffic ──▶ answer          with `prepare`
 *                                              └─ fails ──▶ error, the traffic stays where it is
 *   check ──▶ revision ──▶ answer ┄┄▶ prepare                                       without, faaslet kinds
 *
 * A faaslet boots once per revision, and its snapshot serves all instances after (docs/faaslets.md): so that this boot is nobody's cold
 * start, it happens when the function is deployed.
 *
 * Invariants:
 *   D1. With `prepare`, a revision that does not start never takes the traffic from one that does.
 *   D2. A prepared revision does not take the traffic from a newer one that got it meanwhile.
 *   D3. What was prepared and has no traffic is released.
 */
import { PlatformError } from '#contract/errors.ts'
import type { FunctionConfig, Revision } from '#contract/function-config.ts'
import { readCodeFile } from '#registry/code-archive.ts'
import type { ApiServices } from './services.ts'

type Services = Pick<ApiServices, 'functions' | 'deployments'>

/** Judges the entry of a tar that was uploaded. What is not there, or not this namespace's, is left to the deployment to say. @throws CODE_INVALID, HANDLER_NOT_FOUND. */
export async function checkUploadedEntry({ functions, deployments }: Services, namespace: string, name: string, config: FunctionConfig, code: string): Promise<void> {
  const latest = functions.latest(namespace, name)
  if (latest !== undefined && latest.code === code && (['kind', 'entry', 'handler', 'memoryMb'] as const).every((key) => latest.config[key] === config[key])) return
  if ((await functions.code.find(namespace, code)) === undefined) return
  await readCodeFile(await functions.code.read(code), config.entry, (content) => deployments.check(config, content))
}

/**
 * Resolves when the revision has an instance, and the traffic if it is to have it.
 * @throws what its start throws, with the revision named and `details.revision`.
 */
export async function prepareForTraffic(services: Services, revision: Revision, { activate }: { readonly activate: boolean }): Promise<void> {
  const { functions, deployments } = services
  const { namespace, function: name, number } = revision
  try {
    try {
      await deployments.prepare(revision)
    } catch (thrown) {
      throw notReady(services, revision, PlatformError.from(thrown))
    }
    const isOvertaken = functions.get(namespace, name)?.traffic.some((share) => share.revision > number) === true
    if (activate && !isOvertaken) await functions.rollback(namespace, name, number)
  } finally {
    releaseUnused(services, revision)
  }
}

/** The same in the background: whoever invokes it hears of a failure. */
export function prepareAhead(services: Services, revision: Revision): void {
  services.deployments.prepare(revision).then(
    () => releaseUnused(services, revision),
    () => releaseUnused(services, revision),
  )
}

/** D3. */
function releaseUnused(services: Services, revision: Revision): void {
  if (!hasTraffic(services, revision)) services.deployments.release(revision)
}

function hasTraffic({ functions }: Services, { namespace, function: name, number }: Revision): boolean {
  return functions.get(namespace, name)?.traffic.some((share) => share.revision === number) === true
}

function notReady(services: Services, revision: Revision, cause: PlatformError): PlatformError {
  const { namespace, function: name, number } = revision
  const traffic = hasTraffic(services, revision)
  const others = services.functions.get(namespace, name)?.traffic.map((share) => share.revision).join(', ') ?? 'none'
  const state = traffic ? 'It is deployed and has the traffic; its invocations get this error.' : `It is kept without traffic, which stays with revision ${others}.`
  return new PlatformError(cause.code, `Revision ${number} of ${name} does not start: ${cause.message} ${state}`, {
    cause,
    details: { ...cause.details, revision: number, hasTraffic: traffic },
    ...(cause.functionStack !== undefined && { functionStack: cause.functionStack }),
  })
}
