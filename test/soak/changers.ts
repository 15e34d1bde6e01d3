/**
 * Who changes what is deployed while it is called: deploys, rollbacks, deletions, new quotas of nothing.
 *
 * Of one function it is written down which versions could answer when. An answer is right if its version was live at some
 * moment between the question and the answer; a change that a death of the platform left open leaves both possible.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { whole } from './world.ts'
import type { Caller, Life, Random, World } from './world.ts'

const NAME = 'changing'
/** No such function. */
const NONE = 0
/** Far fewer than are kept, so that none is trimmed. */
const ROLLBACK_DEPTH = 5

interface LiveTime {
  readonly version: number
  readonly fromMs: number
  untilMs: number
}

export class ChangingFunction {
  readonly #world: World
  readonly #live: LiveTime[] = [{ version: NONE, fromMs: -Infinity, untilMs: Infinity }]
  /** Of the present function, by revision. */
  readonly #versions = new Map<number, number>()
  #version = 0

  constructor(world: World) {
    this.#world = world
  }

  callers(): readonly Caller[] {
    return [
      { name: 'changes', count: 1, thinkMs: 800, act: (life, random) => this.#change(life, random) },
      { name: 'calls what changes', count: 2, thinkMs: 60, act: (life) => this.#call(life) },
      { name: 'starts cold', count: 1, thinkMs: 800, act: (life, random) => startCold(this.#world, life, random) },
    ]
  }

  async #change(life: Life, random: Random): Promise<void> {
    const { platform } = life
    const what = random()
    const revisions = [...this.#versions.keys()].slice(-ROLLBACK_DEPTH)
    if (what < 0.15) {
      await this.#become(NONE, async () => {
        const { status } = await platform.send(`/v1/functions/${NAME}`, { method: 'DELETE' })
        // After a change that a death left open there may be none.
        if (status === 204 || status === 404) this.#versions.clear()
        return status === 204 || status === 404
      }, life)
      return
    }
    if (what < 0.4 && revisions.length > 1) {
      const revision = revisions[whole(random, revisions.length)]!
      await this.#become(this.#versions.get(revision)!, async () => {
        const answer = await platform.send(`/v1/functions/${NAME}/rollback`, { method: 'POST', body: JSON.stringify({ revision }), headers: { 'content-type': 'application/json' } })
        return answer.status === 200
      }, life)
      return
    }
    const version = ++this.#version
    await this.#become(version, async () => {
      const revision = await platform.deployText(NAME, 'changing.ts', `export function main() { return { version: ${version} } }`)
      this.#versions.set(revision, version)
      return true
    }, life)
  }

  /** Both what was and what is to be are live until the answer; then what was is not any more. */
  async #become(version: number, change: () => Promise<boolean>, life: Life): Promise<void> {
    const before = this.#live.filter((one) => one.untilMs === Infinity)
    const next: LiveTime = { version, fromMs: performance.now(), untilMs: Infinity }
    this.#live.push(next)
    const isDone = await this.#world.reach(life, change)
    if (!isDone) {
      this.#world.books.problem(`${NAME} could not become version ${version}`)
      return
    }
    const nowMs = performance.now()
    for (const one of before) one.untilMs = nowMs
    while (this.#live.length > 1000) this.#live.shift()
  }

  #said(sinceMs: number): string {
    const at = (ms: number): string => (Number.isFinite(ms) ? `${Math.round(ms - sinceMs)} ms` : 'open')
    return this.#live.filter((one) => one.untilMs >= sinceMs - 100).map((one) => `version ${one.version} from ${at(one.fromMs)} until ${at(one.untilMs)}`).join(', ')
  }

  async #call(life: Life): Promise<void> {
    const fromMs = performance.now()
    const possible = (version: number): boolean => {
      const nowMs = performance.now()
      return this.#live.some((one) => one.version === version && one.fromMs <= nowMs && one.untilMs >= fromMs)
    }
    const answer = await this.#world.ask(life, { function: NAME, codes: ['FUNCTION_NOT_FOUND'], isRight: (right) => possible(right.json().version) }, () => life.platform.invoke(NAME))
    if (answer.status === 404 && !possible(NONE)) this.#world.books.problem(`${NAME} was not found while it was deployed: ${answer.text.slice(0, 200)}`)
    else if (answer.status !== 200 && answer.headers['x-skep-error'] !== 'FUNCTION_NOT_FOUND') this.#world.books.problem(`then, live since: ${this.#said(fromMs)}`)
  }
}

let made = 0

/** A function of its own: deployed, called cold and warm, deleted. */
async function startCold(world: World, life: Life, random: Random): Promise<void> {
  const { platform } = life
  const n = ++made
  const name = `cold-${n}`
  const isPython = random() < 0.3
  const text = isPython ? `def main(params):\n    return {"n": ${n}}` : `export function main() { return { n: ${n} } }`
  await world.reach(life, () => platform.deployText(name, isPython ? 'cold.py' : 'cold.ts', text))
  const calls = 1 + whole(random, 3)
  for (let call = 0; call < calls; call++) {
    const isRight = (start: string) => (answer: { headers: Record<string, unknown>; json(): any }): boolean => answer.json().n === n && answer.headers['x-skep-start'] === start
    await world.ask(life, { function: name, isRight: isRight(call === 0 ? 'cold' : 'warm') }, () => platform.invoke(name))
  }
  if (random() < 0.2) await pause(whole(random, 200))
  const { status } = await world.reach(life, () => platform.send(`/v1/functions/${name}`, { method: 'DELETE' }))
  if (status !== 204) world.books.problem(`${name} could not be deleted: ${status}`)
}
