// A fetch handler with a route for each thing a request and its context offer.
export default {
  async fetch(request: Request, env: Record<string, string>, ctx: { waitUntil(work: Promise<unknown>): void; invocationId: string; remainingMs(): number }): Promise<Response> {
    const url = new URL(request.url)
    switch (url.pathname) {
      case '/hello':
        return new Response('hello')
      case '/request':
        return Response.json({ method: request.method, url: request.url, headers: Object.fromEntries(request.headers), isRequest: request instanceof Request, body: await request.text() })
      case '/env':
        return Response.json({ env, process: process.env, cwd: process.cwd() })
      case '/context':
        return Response.json({ id: ctx.invocationId, remainingMs: ctx.remainingMs() })
      case '/log':
        console.log('one', { two: 2 })
        console.error('three')
        console.debug('four')
        process.stdout.write('five\nsi')
        process.stdout.write('x\n')
        await new Promise((resolve) => setTimeout(resolve, 1))
        console.warn('seven')
        return new Response('logged')
      case '/wait':
        await new Promise((resolve) => setTimeout(resolve, Number(url.searchParams.get('ms'))))
        return new Response('waited')
      case '/late':
        ctx.waitUntil(new Promise<void>((resolve) => setTimeout(() => resolve(console.log('late')), 30)))
        return new Response('early')
      case '/cookies': {
        const headers = new Headers({ 'X-One': '1' })
        headers.append('set-cookie', 'a=1')
        headers.append('set-cookie', 'b=2')
        return new Response('x', { status: 201, headers })
      }
      case '/clone': {
        const copy = request.clone()
        const remade = new Request(request, { headers: { 'x-new': '1' } })
        return Response.json([await copy.text(), await remade.text(), remade.headers.get('x-new'), remade instanceof Request])
      }
      case '/form':
        return Response.json([...(await request.formData()).entries()])
      case '/large':
        return new Response('x'.repeat(Number(url.searchParams.get('bytes'))))
      case '/empty':
        return new Response(null, { status: 204 })
      default:
        return new Response('not here', { status: 404 })
    }
  },
}
