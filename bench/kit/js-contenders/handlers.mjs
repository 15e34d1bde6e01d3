/**
 * The handlers that the scenario `js` runs in every kind of home: plain JavaScript without imports, so that Node, workerd and QuickJS take
 * the very same file. The default export is the shape of workerd and of Skep; a plain Node server and a thread call `answer`.
 *
 * What the jobs work on is made at the top level: before the first request at home, and once for ever in a snapshot.
 */
const rows = Array.from({ length: 1200 }, (_, index) => ({ id: index, name: `product ${index}`, price: (index * 37) % 1000, tags: ['a', 'b', `tag${index % 7}`], inStock: index % 3 > 0 }))
const json = JSON.stringify(rows)
const numbers = Array.from({ length: 20_000 }, (_, index) => Math.imul(index + 1, 2_654_435_761) >>> 0)
const text = Array.from({ length: 1000 }, (_, index) => `${index} GET /shop/item-${index % 100}?user=u${index}@mail.example HTTP/1.1 ${200 + (index % 5) * 100} ${index * 13}\n`).join('')

/** Each gives a number that depends on all it did: the homes have to agree on it. */
const jobs = {
  json() {
    const out = JSON.parse(json).filter((row) => row.inStock).map((row) => ({ ...row, price: row.price * 1.2, label: `${row.name} (${row.id})` }))
    return JSON.stringify(out).length
  },
  template() {
    const escape = (value) => String(value).replaceAll('&', '&amp;').replaceAll('<', '&lt;')
    let html = '<table>'
    for (const row of rows) html += `<tr class="${row.inStock ? 'in' : 'out'}"><td>${row.id}</td><td>${escape(row.name)}</td><td>${row.price.toFixed(2)}</td></tr>`
    return `${html}</table>`.length
  },
  loop() {
    let sum = 0
    for (let index = 0; index < 1_000_000; index++) sum = (sum + Math.imul(index, 31) + (sum >>> 3)) | 0
    return sum
  },
  sort() {
    const sorted = [...numbers].sort((a, b) => a - b)
    return sorted[0] + sorted[10_000] + sorted[19_999]
  },
  regex() {
    let sum = 0
    for (const match of text.matchAll(/^(\d+) (GET|POST) (\/[\w/-]+)\?user=([\w.]+@[\w.]+) HTTP\/1\.1 ([2-5]\d\d) (\d+)$/gm)) sum += match[4].length + Number(match[6])
    return sum
  },
}

/** @param path `/` says hello, `/wait` answers after as many ms as its query says, `/NAME` does that job and says for how long. */
export function answer(path) {
  if (path === '/') return 'hello'
  const [name, query] = path.slice(1).split('?')
  if (name === 'wait') return new Promise((resolve) => setTimeout(() => resolve('waited'), Number(query)))
  const startMs = performance.now()
  const result = jobs[name]()
  return JSON.stringify({ ms: performance.now() - startMs, result })
}

export default {
  async fetch(request) {
    return new Response(await answer(request.url.slice(request.url.indexOf('/', 8))), { headers: { 'content-type': 'text/plain' } })
  },
}
