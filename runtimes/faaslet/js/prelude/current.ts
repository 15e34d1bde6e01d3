/**
 * The invocation that runs in this guest, of which there is one at a time, and what the host knows of the instance.
 */
import { HostOp, type FrameInfo } from '../ops.ts'
import { host } from './host.ts'
import type { Invocation } from './invocation.ts'

let current: Invocation | undefined

export function setCurrent(invocation: Invocation): void {
  current = invocation
}

/** The invocation that runs, or that ran last; undefined while the code loads. */
export function currentInvocation(): Invocation | undefined {
  return current
}

/** Asked for every time: a restored instance is another one. */
export function frameInfo(): FrameInfo {
  return JSON.parse(host(HostOp.frame) as string) as FrameInfo
}
