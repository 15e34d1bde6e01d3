/**
 * One host process of the density scenario: makes faaslets from one image with the product's own code and keeps all of them alive.
 *
 * Messages: { make: n } makes that many more; { ask: numbers } calls these. A faaslet is told its number once and has to know it.
 */
import { readFileSync } from 'node:fs'
import { openSnapshot } from '#pager/open-snapshot.ts'
import { adoptMemory, openImage } from '#pager/restore.ts'
import { restore } from '../../runtimes/faaslet/faaslets.ts'
import type { Faaslet, Guest } from '../../runtimes/faaslet/guest.ts'
import { rewriteModule } from '../../runtimes/faaslet/wasm/rewrite.ts'

const [modulePath = '', directory = ''] = process.argv.slice(2)
const { boot, restore: restoring, ...facts } = rewriteModule(readFileSync(modulePath), { memoryPagesMax: 16 })
const guest: Guest = {
  imports: {},
  module: { ...facts, boot: new WebAssembly.Module(boot as BufferSource), restore: new WebAssembly.Module(restoring as BufferSource) },
  boot: async () => {},
  invoke: async () => {},
}
const snapshot = openSnapshot(directory)
const image = openImage(snapshot)
const pages = snapshot.imageBytes / 65_536
const state = { globals: guest.module.globals.map(() => 0), tables: [] }
const faaslets: Faaslet[] = []

process.on('message', (message: { readonly make?: number; readonly ask?: readonly number[] }) => {
  try {
    if (message.make !== undefined) {
      const startMs = performance.now()
      for (let made = 0; made < message.make; made++) make()
      process.send!({ made: faaslets.length, ms: performance.now() - startMs })
    } else {
      const wrong = (message.ask ?? []).filter((number) => (faaslets[number]!.exports['handle'] as () => number)() >>> 0 !== Math.imul(number, 2654435761) >>> 0)
      process.send!({ wrong: wrong.length })
    }
  } catch (thrown) {
    process.send!({ error: String(thrown), made: faaslets.length })
  }
})
process.send!({ ready: true })

function make(): void {
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 16 })
  adoptMemory(memory).restore(image, 'lazy')
  const faaslet = restore(guest, memory, state)
  ;(faaslet.exports['keep'] as (number: number) => void)(faaslets.length)
  faaslets.push(faaslet)
}
