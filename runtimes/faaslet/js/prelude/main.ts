/**
 * The prelude's entry: what the host calls, by the numbers of ../ops.ts.
 *
 * It is evaluated once, before the function's code; the host keeps the function `enter`.
 */
import { Entry, InvokeFlag, SHAPES, type StartInfo } from '../ops.ts'
import { allowCalls, answered, broke } from './calls.ts'
import { currentInvocation } from './current.ts'
import { installGlobals } from './globals.ts'
import { findHandler } from './handler.ts'
import { wireError } from './host.ts'
import { IncomingBody } from './incoming.ts'
import { run, setHandler, uncaught } from './instance.ts'
import { Invocation } from './invocation.ts'
import { adopt, guardTransfers } from './memory.ts'
import { pull, stop } from './outgoing.ts'
import { setEnvironment } from './process.ts'
import { install } from './sdk.ts'
import { beginTimers, fireTimer, forgetTimers } from './timers.ts'

let environment: Readonly<Record<string, string>> = {}
let entryFile = ''
let isLoaded = false

installGlobals()
guardTransfers()

export function enter(entry: number, id: number, text: string | undefined, more: unknown): unknown {
  switch (entry) {
    case Entry.invoke:
      if (!isLoaded) {
        isLoaded = true
        allowCalls()
        beginTimers()
      }
      return run(new Invocation(text!, (id & InvokeFlag.event) !== 0, more as Uint8Array | undefined, (id & InvokeFlag.bodyFollows) !== 0))
    case Entry.pull:
      return void pull(id)
    case Entry.stop:
      return stop(id)
    case Entry.chunk:
      return IncomingBody.of(id)?.chunk(more as Uint8Array)
    case Entry.end:
      return IncomingBody.of(id)?.end()
    case Entry.broke:
      return broke(id, text!)
    case Entry.answered:
      return answered(id, text!, more as Uint8Array | undefined)
    case Entry.timer:
      try {
        return fireTimer(id)
      } catch (error) {
        return uncaught('Uncaught', error)
      }
    case Entry.cancel:
      return currentInvocation()?.cancel()
    case Entry.unhandled:
      return uncaught(id === 1 ? 'Uncaught' : 'Unhandled rejection', more)
    case Entry.adopt:
      return adopt(more as Uint8Array, id >>> 0)
    case Entry.rest:
      isLoaded = false
      return forgetTimers()
    case Entry.start: {
      const info = JSON.parse(text!) as StartInfo
      environment = setEnvironment(info.environment)
      entryFile = info.entry
      return install()
    }
    case Entry.loaded: {
      const handler = findHandler(more as Record<string, unknown>, text === '' ? undefined : text, entryFile)
      setHandler(handler, environment)
      return SHAPES.indexOf(handler.shape)
    }
    case Entry.describe:
      return JSON.stringify(wireError(more))
  }
}
