// Answers that are streams: events, endless, failing, large.
let cancelled = 0

export default {
  fetch(request: Request): Response {
    const url = new URL(request.url)
    if (url.pathname === '/cancelled') return Response.json({ cancelled })
    if (url.pathname === '/fails') {
      return new Response(
        (async function* () {
          yield Buffer.from('first')
          throw new Error('the source broke')
        })() as unknown as ReadableStream,
      )
    }
    if (url.pathname === '/endless') {
      const chunk = new Uint8Array(64 * 1024)
      return new Response(new ReadableStream({ pull: (controller) => controller.enqueue(chunk), cancel: () => void cancelled++ }))
    }
    return new Response(
      new ReadableStream({
        async start(controller) {
          for (let at = 0; at < 3; at++) {
            controller.enqueue(new TextEncoder().encode(`data: ${at}\n\n`))
            await new Promise((resolve) => setTimeout(resolve, 1))
          }
          controller.close()
        },
      }),
      { headers: { 'content-type': 'text/event-stream' } },
    )
  },
}
