/** `skep setup`: installs the system's packages that are missing, each said in a line; `demo` and `test` do the same first. */
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { aptInstall, findProgram, installCommand, missingPackages, planSetup } from '../system-packages.ts'

export async function setup(context: Context): Promise<number> {
  const missing = await prepareSystem(context, context.options['bench'] === true)
  context.result({ missing }, () => (missing.length === 0 ? 'Everything is there.' : ''))
  return missing.length === 0 ? exitCodes.ok : exitCodes.platform
}

/** Installs what can be installed. @returns Programs that are still missing. */
export async function prepareSystem(context: Context, bench = false): Promise<string[]> {
  const plan = planSetup({ missing: missingPackages(bench), root: process.getuid?.() === 0, apt: findProgram('apt-get') !== undefined, refused: context.options['system'] === false })
  if (plan.action === 'nothing') return []
  if (plan.action === 'say') {
    for (const one of plan.packages) context.warn(`${one.program} is missing: ${one.without}. Install it: ${installCommand([one])}`)
    context.note(`Nothing was installed: ${plan.because}.`)
    return plan.packages.map((one) => one.program)
  }
  for (const one of plan.packages) context.note(`installing ${one.apt} (apt-get): without it, ${one.without}`)
  const problem = await aptInstall(plan.packages)
  if (problem !== undefined) context.warn(`apt-get failed:\n${problem}\nInstall by hand: ${installCommand(plan.packages)}`)
  return missingPackages(bench).map((one) => one.program)
}
