/**
 * The functions of the soak, well- and ill-behaved. Each answers what its caller can foresee, so that every answer can be
 * told right or wrong. They are deleted when the load has ended: then nothing of them may be left.
 */
import type { DeployConfig } from '../kit/platform.ts'

export interface SoakFunction {
  readonly filename: string
  readonly text: string
  readonly config?: DeployConfig
}

/** Attempts of what fails until then: retriesMax + 1. */
export const ATTEMPTS_MAX = 4
const retries: DeployConfig = { retriesMax: ATTEMPTS_MAX - 1, retryBackoffMs: 50 }

/** @param witness Address of the server that counts executions: what it was told survives a platform's death. */
export function soakFunctions(witness: string): Readonly<Record<string, SoakFunction>> {
  return {
    echo: { filename: 'echo.ts', text: 'export function main(params: any) { return { echo: params.text } }' },
    'echo-python': { filename: 'echo.py', text: 'def main(params):\n    return {"echo": params["text"]}' },
    'echo-command': { filename: 'echo.sh', text: '#!/bin/sh\nexec cat\n' },
    waits: {
      filename: 'waits.ts',
      text: 'export async function main({ ms }: any) { await new Promise((resolve) => setTimeout(resolve, ms)); return { ms } }',
    },
    computes: {
      filename: 'computes.ts',
      text: 'export function main({ n }: any) { let sum = 0; for (let i = 1; i <= n; i++) sum += i; return { sum } }',
    },
    calls: {
      filename: 'calls.ts',
      text: `
        import { invoke } from 'skep'
        export async function main({ text }: any) {
          const [a, b]: any = await Promise.all([invoke('echo', { text }), invoke('echo-python', { text })])
          return { a: a.echo, b: b.echo }
        }
      `,
    },
    streams: {
      filename: 'streams.ts',
      text: `
        export default {
          fetch(request: Request) {
            const bytes = Number(new URL(request.url).searchParams.get('bytes') ?? -1)
            if (bytes < 0) return new Response(request.body)
            let left = bytes
            return new Response(new ReadableStream({
              pull(controller) {
                const size = Math.min(left, 30_000)
                left -= size
                if (size > 0) controller.enqueue(new Uint8Array(size).fill(7))
                if (left === 0) controller.close()
              },
            }))
          },
        }
      `,
    },
    'streams-python': {
      filename: 'streams.py',
      text: `
import skep

@skep.streaming
def main(params):
    def chunks():
        for chunk in skep.request().stream:
            yield chunk
    return chunks()
`,
    },
    throws: { filename: 'throws.ts', text: 'export function main() { throw new Error("on purpose") }' },
    // On an instance of its own: what it does ends the invocations beside it too.
    exits: { filename: 'exits.ts', text: 'export function main({ code }: any) { process.exit(code) }', config: { concurrency: 1 } },
    hangs: { filename: 'hangs.ts', text: 'export function main() { for (;;) continue }', config: { concurrency: 1, timeoutMs: 300, instancesMax: 3 } },
    'hangs-python': { filename: 'hangs.py', text: 'def main(params):\n    while True:\n        pass', config: { concurrency: 1, timeoutMs: 300, instancesMax: 3 } },
    eats: {
      filename: 'eats.ts',
      text: 'const kept: unknown[] = []\nexport function main() { for (;;) kept.push(Buffer.alloc(4 << 20, 1)) }',
      config: { concurrency: 1, memoryMb: 128, instancesMax: 2 },
    },
    'fails-to-load': { filename: 'fails.ts', text: 'throw new Error("at import")\nexport function main() {}' },
    prints: {
      filename: 'prints.ts',
      text: 'export function main({ lines }: any) { for (let line = 0; line < lines; line++) console.log("line", line, "x".repeat(100)); return { lines } }',
    },
    flaky: {
      filename: 'flaky.ts',
      text: `
        import { context } from 'skep'
        export function main({ until, n }: any) {
          const { attempt } = context()
          if (attempt < until) throw new Error('not on attempt ' + attempt)
          return { n }
        }
      `,
      config: retries,
    },
    'flaky-python': {
      filename: 'flaky.py',
      text: `
import skep

def main(params):
    attempt = skep.context().attempt
    if attempt < params['until']:
        raise RuntimeError('not on attempt %d' % attempt)
    return {'n': params['n']}
`,
      config: retries,
    },
    // Tells the witness of each of its executions before it does anything else.
    witnessed: {
      filename: 'witnessed.ts',
      text: `
        import { context } from 'skep'
        export async function main({ until, n }: any) {
          const { attempt, invocationId } = context()
          await fetch('${witness}/ran/' + invocationId + '/' + attempt, { method: 'POST' })
          if (attempt < until) throw new Error('not on attempt ' + attempt)
          return { n }
        }
      `,
      config: { ...retries, network: 'host' },
    },
    // Gets the results of others as a callback.
    told: {
      filename: 'told.ts',
      text: `export async function main({ id }: any) { await fetch('${witness}/told/' + id, { method: 'POST' }) }`,
      config: { ...retries, network: 'host' },
    },
  }
}
