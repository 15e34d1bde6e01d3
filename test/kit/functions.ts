/** Functions that several integration tests deploy. Each is one file, as `deployText` takes it. */

/** Answers at once; says which process and instance of the code answered. */
export const hello = {
  filename: 'hello.ts',
  text: `
    let answered = 0
    export function main(params: Record<string, unknown>) { return { hello: params.name ?? 'world', answered: ++answered } }
  `,
} as const

/** Waits for params.ms without computing; can be cancelled, and says so in its log. */
export const waits = {
  filename: 'waits.ts',
  text: `
    export default {
      async fetch(request: Request) {
        const { ms } = (await request.json()) as { ms: number }
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms)
          request.signal.addEventListener('abort', () => { clearTimeout(timer); console.log('aborted'); resolve() })
        })
        return Response.json({ waited: ms })
      },
    }
  `,
} as const

/** Computes for params.ms of wall time: nothing else runs in its process meanwhile. */
export const computes = {
  filename: 'computes.ts',
  text: `
    export function main({ ms }: { ms: number }) {
      for (const endMs = performance.now() + ms; performance.now() < endMs; ) continue
      return { computed: ms }
    }
  `,
} as const
