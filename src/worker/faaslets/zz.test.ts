import { test } from 'node:test'
import { readFileSync } from 'node:fs'
import { workerGround } from '../worker.harness.ts'
import { snapshotStore } from './faaslets.harness.ts'
const spins = { 'index.js': `export async function main({ spin, wait }) {
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait))
      if (spin) for (;;) ;
      return 'done'
    }` } as const
const command = { 'main.wasm': readFileSync('/work/main/test/functions/wasm/command.wasm') }
test('x', async (context) => {
  const { store } = await snapshotStore(context)
  const ground = workerGround(context, { snapshots: store })
  for (let round = 0; round < 12; round++) {
    const js = await ground.start(ground.revision(spins, { kind: 'js', timeoutMs: 300 }, { function: 'js' + round }))
    const c = await ground.start(ground.revision(command, { kind: 'wasm', timeoutMs: 400 }, { function: 'c' + round }))
    const host = (js.sandbox as any).attachment.host
    if (!host.seen) { host.seen = true; host.sandbox.stderr.on('data', (d: Buffer) => console.log('STDERR', String(d))); host.sandbox.stdout.on('data', (d: Buffer) => console.log('STDOUT', String(d))); void host.sandbox.exited.then((e: unknown) => console.log('HOST EXIT', e)) }
    const body = (v: unknown) => ({ body: Buffer.from(JSON.stringify(v)) })
    await ground.invoke(js, body({ wait: 1 }))
    const all = await Promise.all([ground.invoke(js, body({ wait: 100 })), ground.invoke(c, { kind: 'http', method: 'GET', path: '/sleep?100' }), ground.invoke(js, body({ spin: true })), ground.invoke(c, { kind: 'http', method: 'GET', path: '/spin' })])
    console.log(round, all.map(({ sink }) => sink.error?.code ?? 'ok').join())
    for (const { sink } of all) if (sink.error && sink.error.code !== 'FUNCTION_TIMEOUT') console.log(sink.error.message)
    js.kill('x'); c.kill('x')
  }
})
