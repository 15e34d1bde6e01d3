/**
 * What the guest asks of the host, by the numbers of ops.ts.
 *
 * All of it comes through one imported function, so that an instance needs one import and no closure. Arguments belong to the
 * engine (E2); a result is a box that the engine frees, 0 means that the guest throws.
 */
import { randomFillSync } from 'node:crypto'
import { isUtf8 } from 'node:buffer'
import { PlatformError, type PlatformErrorBody } from '../../../src/contract/errors.ts'
import type { LogLevelName, OpenHead } from '../../../src/contract/frames.ts'
import type { Life } from './life.ts'
import { Entry, HostOp, type CallHead, type FetchHead, type FrameInfo, type UrlParts, type WireError } from './ops.ts'
import { incomingOf, wireError } from './transfers.ts'

export function hostCall(life: Life, _count: number, argv: number): number {
  const { engine } = life
  const { view } = engine
  const argument = (index: number): number => engine.view.getUint32(argv + index * 4, true)
  const first = view.getUint32(argv + 4, true)
  switch (engine.toNumber(view.getUint32(argv, true))) {
    case HostOp.answerText: {
      const { invocation } = life
      invocation?.answerText(engine.toText(first))
      life.answered()
      break
    }
    case HostOp.answer: {
      const body = argument(3)
      const status = engine.toNumber(first)
      const headers = JSON.parse(engine.toText(argument(2))) as string[]
      life.answer(status, headers, engine.isUndefined(body) ? undefined : engine.isObject(body) ? engine.viewOf(body) : engine.toUtf8(body))
      break
    }
    case HostOp.answerStream:
      life.answerStream(engine.toNumber(first), JSON.parse(engine.toText(argument(2))) as string[])
      break
    case HostOp.fail:
      life.fail(JSON.parse(engine.toText(first)) as PlatformErrorBody)
      break
    case HostOp.log:
      life.log(engine.toText(first) as LogLevelName, engine.toText(argument(2)))
      break
    case HostOp.give: {
      const chunk = argument(2)
      life.sources[engine.toNumber(first)]?.give(engine.isObject(chunk) ? Buffer.from(engine.viewOf(chunk)) : engine.toUtf8(chunk))
      break
    }
    case HostOp.giveEnd:
      life.sources[engine.toNumber(first)]?.giveEnd()
      break
    case HostOp.giveError:
      life.sources[engine.toNumber(first)]?.giveError(life.guest.sourceError(JSON.parse(engine.toText(argument(2))) as WireError))
      break
    case HostOp.read:
      life.read(engine.toNumber(first))
      break
    case HostOp.discard:
      life.incoming(engine.toNumber(first))?.discard()
      break
    case HostOp.call:
    case HostOp.fetch: {
      const id = engine.toNumber(first)
      const head = JSON.parse(engine.toText(argument(2))) as OpenHead & FetchHead
      const box = argument(3)
      const body = engine.isUndefined(box) ? undefined : engine.isString(box) ? engine.toUtf8(box) : engine.isObject(box) ? life.copyOf(engine.viewOf(box)) : life.source(id)
      if (engine.toNumber(argument(0)) === HostOp.fetch) beginFetch(life, id, head, body)
      else beginCall(life, id, head, body)
      break
    }
    case HostOp.abort: {
      const id = engine.toNumber(first)
      const call = life.calls[id]
      life.calls[id] = undefined
      call?.call?.cancel()
      call?.abort?.abort()
      break
    }
    case HostOp.timer:
      beginTimer(life, engine.toNumber(first), engine.toNumber(argument(2)))
      break
    case HostOp.clearTimer: {
      const id = engine.toNumber(first)
      clearTimeout(life.timers?.get(id))
      life.timers?.delete(id)
      break
    }
    case HostOp.random:
      if (life.guest.isBooting(life)) {
        return engine.throwError('Random values cannot be made while the code loads: every instance would have the same ones. Make them inside the handler.')
      }
      randomFillSync(engine.viewOf(first))
      break
    case HostOp.lateWork:
      life.lateWork(engine.toNumber(first))
      break
    case HostOp.url: {
      const base = argument(2)
      const url = URL.parse(engine.toText(first), engine.isUndefined(base) ? undefined : engine.toText(base))
      if (url === null) break
      return engine.newString(JSON.stringify(partsOf(url)))
    }
    case HostOp.urlSet: {
      const url = new URL(engine.toText(first))
      const name = engine.toText(argument(2)) as Exclude<keyof UrlParts, 'origin'>
      url[name] = engine.toText(argument(3))
      return engine.newString(JSON.stringify(partsOf(url)))
    }
    case HostOp.decode: {
      const bytes = engine.viewOf(first)
      return engine.decode(bytes, isUtf8(bytes))
    }
    case HostOp.encode:
      return engine.encode(first)
    case HostOp.isUtf8:
      return engine.exports.qjs_new_number(isUtf8(engine.viewOf(first)) ? 1 : 0)
    case HostOp.unmap:
      engine.exports.wasm_free(engine.toNumber(first))
      break
    case HostOp.uncaught: {
      const { message, functionStack } = life.guest.thrown(JSON.parse(engine.toText(argument(2))) as WireError)
      life.log('error', `${engine.toText(first)}: ${functionStack ?? message}`)
      break
    }
    case HostOp.frame: {
      const { namespace, function: name, revision, instance, memoryMb } = life.guest.frame
      const info: FrameInfo = { namespace, function: name, revision, instance, memoryMb }
      return engine.newString(JSON.stringify(info))
    }
  }
  return engine.exports.qjs_dup_value(engine.undefinedBox)
}

function beginCall(life: Life, id: number, head: OpenHead, body: Uint8Array | AsyncIterator<unknown> | undefined): void {
  const { invocation } = life
  const call = life.guest.open({ head: { ...head, ...(invocation !== undefined && { c: invocation.stream }) }, body })
  life.calls[id] = { call }
  call.answer.then(
    (answer) => {
      if (life.invocation !== invocation) return
      const isComplete = answer.body.isComplete
      if (!isComplete) life.calls[id] = { call, body: answer.body }
      const head: CallHead = { s: answer.status, h: answer.headers, b: !isComplete }
      if (isComplete) life.done(Entry.answered, id, JSON.stringify(head), answer.body.takeAll())
      else life.later(Entry.answered, id, JSON.stringify(head))
    },
    (error: unknown) => {
      if (life.invocation === invocation) life.done(Entry.broke, id, JSON.stringify(wireError(error)))
    },
  )
}

function beginFetch(life: Life, id: number, { url, method, headers, redirect }: FetchHead, body: Uint8Array | AsyncIterable<Uint8Array> | undefined): void {
  const { invocation, guest } = life
  const abort = new AbortController()
  life.calls[id] = { abort }
  const pairs: [string, string][] = []
  for (let at = 0; at < headers.length; at += 2) pairs.push([headers[at]!, headers[at + 1]!])
  const isStream = body !== undefined && !(body instanceof Uint8Array)
  const init = { method, headers: pairs, redirect, signal: abort.signal, body: isStream ? webStreamOf(body) : body, duplex: 'half' }
  const begun = guest.fetch === undefined ? Promise.reject(new PlatformError('FORBIDDEN', 'The function has no network: deploy it with network host to let it fetch.')) : guest.fetch(url, init as RequestInit)
  begun.then(
    (response) => {
      if (life.invocation !== invocation) return
      if (response.body !== null) life.calls[id] = { abort, body: incomingOf(response.body) }
      const head: CallHead = {
        s: response.status,
        h: [...response.headers].flat(),
        text: response.statusText,
        url: response.url,
        redirected: response.redirected,
        b: response.body !== null,
      }
      if (response.body === null) life.done(Entry.answered, id, JSON.stringify(head))
      else life.later(Entry.answered, id, JSON.stringify(head))
    },
    (error: unknown) => {
      if (life.invocation === invocation) life.done(Entry.broke, id, JSON.stringify(wireError(error)))
    },
  )
}

/** Pulled as it is read. */
function webStreamOf(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  return (ReadableStream as unknown as { from(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> }).from(source)
}

function beginTimer(life: Life, id: number, ms: number): void {
  const { invocation } = life
  const timer = setTimeout(() => {
    if (life.invocation !== invocation) return
    life.timers?.delete(id)
    life.enter(Entry.timer, id)
  }, ms)
  ;(life.timers ??= new Map()).set(id, timer)
}

function partsOf({ href, protocol, username, password, host, hostname, port, pathname, search, hash, origin }: URL): UrlParts {
  return { href, protocol, username, password, host, hostname, port, pathname, search, hash, origin }
}
