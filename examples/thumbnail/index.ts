/** Makes a thumbnail: the request's body is a PNG, the answer a smaller one, `?width=` pixels wide (160 if not said). */
import { decodePng, encodePng, PictureError } from './png.ts'
import { shrink } from './shrink.ts'

const WIDTH_MAX = 4096

const statusOf = { PICTURE_INVALID: 400, PICTURE_UNSUPPORTED: 415, PICTURE_TOO_LARGE: 413 } as const

export default {
  async fetch(request: Request): Promise<Response> {
    const asked = new URL(request.url).searchParams.get('width') ?? '160'
    const width = Number(asked)
    if (!Number.isInteger(width) || width < 1 || width > WIDTH_MAX) {
      return refuse(400, 'WIDTH_INVALID', `width is ${JSON.stringify(asked)}, and must be a whole number from 1 to ${WIDTH_MAX}.`)
    }
    try {
      const picture = decodePng(new Uint8Array(await request.arrayBuffer()))
      const thumbnail = shrink(picture, Math.min(width, picture.width))
      console.log(`${picture.width} x ${picture.height} to ${thumbnail.width} x ${thumbnail.height}`)
      return new Response(encodePng(thumbnail), { headers: { 'content-type': 'image/png' } })
    } catch (error) {
      if (error instanceof PictureError) return refuse(statusOf[error.code], error.code, error.message)
      throw error
    }
  },
}

function refuse(status: number, code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status })
}
