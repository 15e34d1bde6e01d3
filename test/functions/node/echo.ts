// Streams the request's body back, or counts it.
export default {
  async fetch(request: Request): Promise<Response> {
    const url = new URL(request.url)
    if (url.pathname === '/count') {
      let bytes = 0
      for await (const chunk of request.body ?? []) bytes += (chunk as Uint8Array).length
      return Response.json({ bytes })
    }
    return new Response(request.body, { headers: { 'content-type': request.headers.get('content-type') ?? 'application/octet-stream' } })
  },
}
