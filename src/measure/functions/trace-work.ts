/**
 * The function of a trace's invocation: computes for so long and has so much memory, both really.
 *
 * Source: In-Vitro's FaasRequest and FaasReply (thesis 3.4's method for whole traces). Where we differ: its server spins a number of loops that was found on another
 * processor, and only says that it had the memory. Here every page is written to, which is part of the time.
 */
import { spinMs } from './busy.ts'
import { numberOf } from './work.ts'
import type { Work } from './work.ts'

const PAGE_BYTES = 4096

export const work: Work = async (fields, links) => {
  const startMs = performance.now()
  const bytes = numberOf(fields, 'memoryInMebiBytes') * 1024 * 1024
  const memory = new ArrayBuffer(Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES)
  const pages = new Uint8Array(memory)
  for (let at = 0; at < pages.length; at += PAGE_BYTES) pages[at] = 1
  const touched = pages.length
  const runtimeMs = numberOf(fields, 'runtimeInMilliSec') || numberOf(fields, 'ServiceTimeMs')
  spinMs(runtimeMs - (performance.now() - startMs))
  // Given back now, and not when garbage is collected: the next invocation needs room too.
  memory.transfer(0)
  const durationInMicroSec = Math.round((performance.now() - startMs) * 1000)
  return { RequestID: links.requestId, TimestampChain: [String(Date.now())], durationInMicroSec, memoryUsageInKb: touched / 1024 }
}
