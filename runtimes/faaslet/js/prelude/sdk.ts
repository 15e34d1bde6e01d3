/**
 * The SDK's runtime: runtimes/node/sdk-runtime.ts itself, given this guest's calls, log and invocation.
 */
import type { InitFrame } from '../../../../src/contract/frames.ts'
import { installSdk, SDK_SYMBOL } from '../../../node/sdk-runtime.ts'
import { log } from './console.ts'
import { currentInvocation, frameInfo } from './current.ts'

export interface Runtime {
  invoke(name: string, payload?: unknown, options?: object): Promise<unknown>
  readonly log: unknown
}

export function runtime(): Runtime {
  return (globalThis as unknown as Record<symbol, Runtime>)[SDK_SYMBOL]!
}

/** The parts of the frame are asked for when context() is called. */
const frame = {
  get namespace() {
    return frameInfo().namespace
  },
  get function() {
    return frameInfo().function
  },
  get revision() {
    return frameInfo().revision
  },
  get instance() {
    return frameInfo().instance
  },
  get memoryMb() {
    return frameInfo().memoryMb
  },
}

export function install(): void {
  type Parameters4 = Parameters<typeof installSdk>
  installSdk({} as Parameters4[0], { entry: log } as unknown as Parameters4[1], { getStore: currentInvocation } as unknown as Parameters4[2], frame as unknown as InitFrame)
}
