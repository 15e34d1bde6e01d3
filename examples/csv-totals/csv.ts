/**
 * Reads CSV that arrives in pieces: text in, rows out, nothing held but the row that is not complete yet.
 *
 *                   ┌────────── any ─────────▶ plain ──┐
 *   start ──────────┤                            ▲     ├── comma, line end ──▶ start
 *     a new field   └─ quote ─▶ quoted ─ quote ─▶ closed ┘
 *                                  ▲──── quote ──┘  (a doubled quote is one quote of the text)
 *
 * Source: RFC 4180. Where we differ: lines may end in LF alone, a quote inside a field without quotes is taken as it is,
 * and empty lines are left out.
 *
 * Invariants:
 *   C1. The rows do not depend on where the pieces were cut.
 */
export class CsvReader {
  #state: 'start' | 'plain' | 'quoted' | 'closed' = 'start'
  /** Of the field that is not complete yet. */
  #text = ''
  #hadQuotes = false
  #row: string[] = []

  /** The rows that this piece completes. */
  push(piece: string): string[][] {
    const rows: string[][] = []
    let from = 0
    for (let at = 0; at < piece.length; at++) {
      const code = piece.charCodeAt(at)
      if (this.#state === 'quoted') {
        if (code !== QUOTE) continue
        this.#text += piece.slice(from, at)
        from = at + 1
        this.#state = 'closed'
      } else if (code === COMMA || code === LINE_FEED) {
        this.#endField(piece.slice(from, at), code === LINE_FEED)
        from = at + 1
        if (code === LINE_FEED) this.#endRow(rows)
      } else if (code === QUOTE && this.#state !== 'plain') {
        // Doubled: what follows begins with this quote.
        from = this.#state === 'closed' ? at : at + 1
        this.#state = 'quoted'
        this.#hadQuotes = true
      } else if (code !== QUOTE) this.#state = 'plain'
    }
    this.#text += piece.slice(from)
    return rows
  }

  /** The last row, when it has no line end. */
  end(): string[][] {
    const rows: string[][] = []
    this.#endField('', true)
    this.#endRow(rows)
    return rows
  }

  #endField(rest: string, isLast: boolean): void {
    const text = this.#text + rest
    const field = isLast && this.#state === 'plain' && text.endsWith('\r') ? text.slice(0, -1) : text
    // An empty line, as against an empty field in quotes.
    const isEmpty = isLast && this.#row.length === 0 && field === '' && !this.#hadQuotes
    if (!isEmpty) this.#row.push(field)
    this.#text = ''
    this.#hadQuotes = false
    this.#state = 'start'
  }

  #endRow(rows: string[][]): void {
    if (this.#row.length > 0) rows.push(this.#row)
    this.#row = []
  }
}

const QUOTE = 34
const COMMA = 44
const LINE_FEED = 10
