// One fault per path.
export default {
  async fetch(request: Request): Promise<unknown> {
    const { pathname } = new URL(request.url)
    switch (pathname) {
      case '/throws':
        return deeper()
      case '/throws-text':
        throw 'just text'
      case '/rejects-late':
        void new Promise((_, reject) => setTimeout(() => reject(new Error('nobody awaits this')), 1))
        return new Promise(() => {})
      case '/throws-late':
        setTimeout(() => {
          throw new Error('thrown in a timer')
        }, 1)
        return new Promise(() => {})
      case '/symbol':
        return Symbol('garbage')
      case '/nothing':
        return undefined
      case '/object':
        return { not: 'a Response' }
      case '/used': {
        const response = new Response('x')
        await response.text()
        return response
      }
      case '/status-error':
        return Response.error()
      case '/exit':
        return process.exit(7)
      case '/prints':
        for (let line = 0; line < 200_000; line++) console.log(`line ${line} ${'x'.repeat(50)}`)
        return new Response('printed')
      case '/spins':
        for (const start = process.cpuUsage(); process.cpuUsage(start).user < 50_000; ) continue
        return new Response('spun')
      case '/ignores-abort':
        return new Promise(() => {})
      case '/aborts':
        await new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve(console.log(`aborted: ${request.signal.reason.name}`))))
        return new Response('too late')
      default:
        return new Response('fine')
    }
  },
}

function deeper(): never {
  throw new TypeError('thrown on purpose')
}
