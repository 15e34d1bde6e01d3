// OpenWhisk's shape: gives its parameters back, or what the parameter `give` names.
export function main(params: Record<string, unknown>): unknown {
  switch (params['give']) {
    case 'nothing':
      return undefined
    case 'text':
      return 'plain'
    case 'bytes':
      return Buffer.from([1, 2, 255])
    case 'parts':
      return { statusCode: 201, headers: { 'X-A': 1, 'set-cookie': ['a', 'b'] }, body: '<p>hi</p>' }
    case 'json-body':
      return { body: { a: [1] } }
    case 'error':
      return { error: 'it went wrong' }
    case 'error-status':
      return { error: { statusCode: 404, body: { message: 'gone' } } }
    case 'stream':
      return (async function* () {
        yield 'one '
        yield Buffer.from('two')
      })()
    default:
      return { params }
  }
}
