/**
 * QuickJS's stacks as the user wants to read them: in the user's files, without the prelude's frames.
 *
 * A frame is `    at name (file:line:column)`, and the file is the bundle. The bundle's source map, when there is one, says
 * where that was written. The prelude has no line numbers, so its frames name no place and go.
 */
import { SourceMap, type SourceMapPayload } from 'node:module'
import { posix } from 'node:path'

const FRAME = /^(\s+at .*?\(?)([^\s()]+):(\d+):(\d+)(\)?)$/

export class StackMapper {
  readonly #entry: string
  readonly #json: string | undefined
  #map: SourceMap | undefined

  constructor(entry: string, sourceMap: string | undefined) {
    this.#entry = entry
    this.#json = sourceMap
  }

  map(stack: string): string {
    const lines: string[] = []
    for (const line of stack.trimEnd().split('\n')) {
      const match = FRAME.exec(line)
      if (match !== null && match[2] === this.#entry) lines.push(`${match[1]}${this.#place(Number(match[3]), Number(match[4]))}${match[5]}`)
      else if (!/^\s+at /.test(line)) lines.push(line)
    }
    return lines.join('\n')
  }

  /** "file:line:column" of the topmost frame. Undefined when no frame has one. */
  placeOf(stack: string): string | undefined {
    for (const line of stack.split('\n')) {
      const match = FRAME.exec(line)
      if (match !== null && match[2] === this.#entry) return this.#place(Number(match[3]), Number(match[4]))
    }
    return undefined
  }

  #place(line: number, column: number): string {
    const here = `${this.#entry}:${line}:${column}`
    if (this.#json === undefined) return here
    try {
      this.#map ??= new SourceMap(JSON.parse(this.#json) as SourceMapPayload)
      const found = this.#map.findOrigin(line, column)
      if (!('fileName' in found)) return here
      return `${posix.join(posix.dirname(this.#entry), found.fileName)}:${found.lineNumber}:${found.columnNumber}`
    } catch {
      return here
    }
  }
}
