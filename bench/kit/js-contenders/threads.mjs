/**
 * The handlers in worker threads of a process that runs already. The process makes, asks and ends threads as it is told by its parent:
 *
 *   { start: true }     one more thread, asked once        → { ms } from making it to its answer
 *   { ask: n }          the last thread, n times           → { us } per call, there and back
 *   { end: true }       all threads                        → {}
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'

if (isMainThread) {
  const threads = []
  const ask = async (thread) => {
    thread.postMessage('/')
    const [text] = await once(thread, 'message')
    if (text !== 'hello') throw new Error(`a thread answered ${text}`)
  }
  process.on('message', async (command) => {
    if (command.start) {
      const startMs = performance.now()
      threads.push(new Worker(new URL(import.meta.url)))
      await ask(threads.at(-1))
      process.send({ ms: performance.now() - startMs })
    } else if (command.ask) {
      const us = []
      for (let call = 0; call < command.ask; call++) {
        const startMs = performance.now()
        await ask(threads.at(-1))
        us.push((performance.now() - startMs) * 1000)
      }
      process.send({ us })
    } else {
      await Promise.all(threads.splice(0).map((thread) => thread.terminate()))
      process.send({})
    }
  })
  process.send({ ready: true })
} else {
  const { answer } = await import('./handlers.mjs')
  parentPort.on('message', async (path) => parentPort.postMessage(await answer(path)))
}
