/**
 * HTML as text that is escaped unless it was made here: titles, addresses and error messages of a run are foreign input.
 *
 * A library is not needed for tables; what is needed is that forgetting to escape is impossible, and so a template escapes whatever is not an `Html`.
 */

export class Html {
  readonly text: string

  /** @param text Trusted: use the template `html` for all else. */
  constructor(text: string) {
    this.text = text
  }
}

export type Content = string | number | Html | undefined | readonly Content[]

/** Values become text, also within quoted attributes; lists are put one after the other, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Html {
  return new Html(strings.map((part, index) => part + (index < values.length ? textOf(values[index]) : '')).join(''))
}

function textOf(content: Content): string {
  if (content === undefined) return ''
  if (content instanceof Html) return content.text
  if (typeof content === 'object') return content.map(textOf).join('')
  return escape(String(content))
}

function escape(text: string): string {
  // Control characters and halves of pairs are no HTML in any form; direction marks would turn the rest of a line around.
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '\ufffd').replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
    .replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll('\'', '&#39;')
}

const STYLE = `:root{color-scheme:light dark;--paper:#fff;--ink:#1f2328;--muted:#59636e;--line:#d1d9e0;--warn:#fff1e5;--warn-ink:#8a3a00}
@media(prefers-color-scheme:dark){:root{--paper:#0d1117;--ink:#f0f3f6;--muted:#9ea7b3;--line:#30363d;--warn:#3a2210;--warn-ink:#ffb77c}}
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:62rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2.2rem 0 .5rem;border-top:1px solid var(--line);padding-top:1rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p,ul,dl{margin:.5rem 0}ul{padding-left:1.2rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem}dt{color:var(--muted)}dd{margin:0}
.wide{overflow-x:auto;margin:.5rem 0}.wide svg{min-width:640px;max-width:100%;height:auto;display:block}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;overflow-wrap:normal}
th{font-weight:600}th:first-child,td:first-child,td.said,th.said{text-align:left}td small,.faint{color:var(--muted)}td small{display:block;white-space:nowrap}tr.thesis td{color:var(--muted);font-style:italic}
td.problematic{background:var(--warn);color:var(--warn-ink);font-weight:600}.told{background:var(--warn);color:var(--warn-ink);padding:.5rem .8rem;border-radius:.3rem}code{font-size:.85em}
@media(max-width:40rem){body{padding:.6rem}dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}th,td{padding:.25rem .4rem}}`

/** A whole page without anything from outside. The policy forbids scripts, also one that would slip through. */
export function htmlPage(title: string, style: string, content: Content): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${title}</title><style>${new Html(STYLE)}
${new Html(style)}</style></head><body>
${content}
</body></html>
`.text
}

/** Scrolls by itself where it is wider than a phone. @param heads A string is a column of numbers, one in a list a column of words. */
export function htmlTable(heads: readonly (string | readonly [string])[], rows: readonly Content[]): Html {
  const head = heads.map((name) => (typeof name === 'string' ? html`<th>${name}</th>` : html`<th class="said">${name[0]}</th>`))
  return html`<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table></div>`
}
