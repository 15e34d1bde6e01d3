/**
 * What every command is given: where to write, for whom (a person or a program), and how to reach the platform.
 *
 * Invariants:
 *   C1. With --json, standard output holds JSON documents only, one per line; an error is one too.
 *   C2. Results go to standard output, everything said along the way to standard error.
 *   C3. Nothing asks a question, and nothing moves on the screen, unless standard error is a terminal.
 */
import { styleText } from 'node:util'
import type { ApiClient } from './api-client.ts'

export interface CommandOptions {
  readonly json?: boolean
  readonly url?: string
  readonly key?: string
  readonly namespace?: string
  readonly [name: string]: unknown
}

export interface Progress {
  /** Says what is being done now. */
  step(text: string): void
  done(text?: string): void
}

type Style = Parameters<typeof styleText>[0]

export class Context {
  readonly json: boolean
  readonly options: CommandOptions
  /** Whether a person watches. */
  readonly terminal: boolean

  constructor(options: CommandOptions) {
    this.options = options
    this.json = options.json === true
    this.terminal = process.stderr.isTTY === true && !this.json
  }

  /** A client of the platform that options, environment or credentials name. @throws SERVER_UNREACHABLE when none does. */
  async client(): Promise<ApiClient> {
    const [{ ApiClient }, { findConnection }] = await Promise.all([import('./api-client.ts'), import('./connection.ts')])
    return new ApiClient(findConnection(this.options, process.env))
  }

  /** The result: a JSON document for a program, else the text that a person reads. */
  result(value: unknown, text: () => string): void {
    const out = this.json ? JSON.stringify(value) : text()
    if (out !== '') process.stdout.write(out.endsWith('\n') ? out : `${out}\n`)
  }

  /** Something a person may want to know, not part of the result. */
  note(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`)
  }

  warn(text: string): void {
    if (!this.json) process.stderr.write(`${this.style('yellow', 'warning')} ${text}\n`)
  }

  /** Colour for standard error, where a terminal is. */
  style(style: Style, text: string): string {
    return this.terminal ? styleText(style, text, { stream: process.stderr }) : text
  }

  /** Progress of something long: a spinner on a terminal, silence for a program, else one line per step. */
  async progress(): Promise<Progress> {
    if (this.json) return { step() {}, done() {} }
    if (!this.terminal) return { step: (text) => this.note(text), done: (text) => text !== undefined && this.note(text) }
    const { spinner } = await import('@clack/prompts')
    const spinning = spinner({ output: process.stderr })
    let started = false
    return {
      step(text) {
        if (started) spinning.message(text)
        else spinning.start(text)
        started = true
      },
      done(text) {
        if (started) spinning.stop(text ?? 'done')
        started = false
      },
    }
  }
}
