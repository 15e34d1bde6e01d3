/** The function that only computes: what STeLLAR calls hellonode. */
import { spin } from './busy.ts'
import type { Work } from './work.ts'

export const work: Work = async (fields, links) => {
  spin(fields)
  return { RequestID: links.requestId, TimestampChain: [String(Date.now())] }
}
