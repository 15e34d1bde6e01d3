/** The handlers as a Node program: node:http and nothing else. Prints its port. */
import { createServer } from 'node:http'
import { answer } from './handlers.mjs'

const server = createServer(async (request, response) => {
  const text = await answer(request.url)
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': text.length })
  response.end(text)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
