/** Processor time of a process and all that descend from it: what a run costs the machine, whoever else is busy on it. */
import { readFileSync, readdirSync } from 'node:fs'

/** Of Linux's clock ticks, 100 a second wherever Node runs. */
const TICK_MS = 10

/** User and system time until now, ms. Of processes that live: one that has ended is no longer counted. */
export function treeCpuMs(root: number): number {
  const processes = new Map<number, { readonly parent: number; readonly ms: number }>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      // The command's name is in parentheses, and may hold anything.
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\) /s, '').split(' ')
      processes.set(Number(name), { parent: Number(fields[1]), ms: (Number(fields[11]) + Number(fields[12])) * TICK_MS })
    } catch {
      // It has ended since.
    }
  }
  const descends = (pid: number): boolean => pid === root || (processes.has(pid) && descends(processes.get(pid)!.parent))
  return [...processes].reduce((sum, [pid, { ms }]) => sum + (descends(pid) ? ms : 0), 0)
}
