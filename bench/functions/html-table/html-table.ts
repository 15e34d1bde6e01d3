/**
 * chameleon of the thesis (Table 5.1): renders a table as HTML, from a template.
 *
 * Loaded before the snapshot: a template, compiled into functions, and 1600 articles, each with two chapters of about 8 KB. A request
 * filters all articles by how long their text is, sorts them and renders some; nobody reads the texts. So it touches where
 * each text begins, where its length is written, and of the memory between nothing.
 *
 *   request   {"columns": ["title", "views"], "longerThan": 12000, "sort": "views", "rows": 150}
 *   answer    HTML
 */
import { Random } from '../kit/random.ts'
import { drawRank, wordOf } from '../kit/words.ts'

interface Article {
  readonly id: number
  readonly title: string
  readonly author: string
  readonly category: number
  readonly views: number
  readonly rating: number
  readonly published: string
  readonly tags: readonly string[]
  readonly chapters: readonly string[]
}

type Column = Exclude<keyof Article, 'chapters'>
/** A part of a template: what is around it is text. */
type Part = (article: Article, place: number) => string

const ARTICLES = 1600
const CATEGORIES = 8
const columnNames: readonly Column[] = ['id', 'title', 'author', 'category', 'views', 'rating', 'published', 'tags']
const articles = loadArticles()
const cells = compileForColumns('<td class="{column} {parity}" title="{column} of {id}">{value}</td>')
const heads = compileForColumns('<th scope="col" data-column="{column}">{column}</th>')

export default {
  async fetch(request: Request): Promise<Response> {
    const query = (await request.json()) as { readonly columns?: unknown; readonly longerThan?: unknown; readonly sort?: unknown; readonly rows?: unknown }
    const columns = Array.isArray(query.columns) ? columnNames.filter((name) => (query.columns as unknown[]).includes(name)) : columnNames
    const sort = columnNames.includes(query.sort as Column) ? (query.sort as Column) : 'id'
    const rows = typeof query.rows === 'number' ? Math.min(500, Math.max(1, query.rows)) : 50
    const longerThan = typeof query.longerThan === 'number' ? query.longerThan : 0
    const shown = first(rows, longer(longerThan), sort)
    return new Response(render(shown, columns), { headers: { 'content-type': 'text/html; charset=utf-8' } })
  },
}

function longer(than: number): Article[] {
  const found: Article[] = []
  // By index: an interpreter spends more on iterators and callbacks than on what they do.
  for (let at = 0; at < articles.length; at++) {
    const article = articles[at]!
    const chapters = article.chapters
    let length = 0
    for (let chapter = 0; chapter < chapters.length; chapter++) length += chapters[chapter]!.length
    if (length > than) found.push(article)
  }
  return found
}

/** The first of them in order. The engine sorts bare values fast; the articles themselves are only sorted if their value may be among the first. */
function first(count: number, chosen: readonly Article[], sort: Column): readonly Article[] {
  const order = (a: Article, b: Article): number => compare(a[sort], b[sort]) || a.id - b.id
  const values = chosen.map((article) => article[sort])
  const last = typeof values[0] === 'number' ? Float64Array.from(values as number[]).sort().at(-count) : values.sort()[count - 1]
  const candidates = last === undefined ? [...chosen] : chosen.filter((article) => compare(article[sort], last) <= 0)
  return candidates.sort(order).slice(0, count)
}

/** Numbers from high to low, texts from A to Z. */
function compare(a: Article[Column], b: Article[Column]): number {
  if (typeof a === 'number' && typeof b === 'number') return b - a
  return a < b ? -1 : a > b ? 1 : 0
}

function render(shown: readonly Article[], columns: readonly Column[]): string {
  const cellsHere = columns.map((column) => cells[column])
  let html = `<table>\n<tr>${columns.map((column) => heads[column](articles[0]!, 0)).join('')}</tr>\n`
  for (let place = 0; place < shown.length; place++) {
    const article = shown[place]!
    html += '<tr>'
    for (let at = 0; at < cellsHere.length; at++) html += cellsHere[at]!(article, place)
    html += '</tr>\n'
  }
  return `${html}</table>\n`
}

/** What depends on nothing but the column is filled in here, once. */
function compileForColumns(template: string): Readonly<Record<Column, Part>> {
  return Object.fromEntries(columnNames.map((column) => [column, compile(template.replaceAll('{column}', column), column)])) as Record<Column, Part>
}

function compile(template: string, column: Column): Part {
  const names: Readonly<Record<string, Part>> = {
    parity: (_article, place) => (place % 2 === 0 ? 'even' : 'odd'),
    id: ({ id }) => String(id),
    value: (article) => show(article[column]),
  }
  const split = template.split(/\{(\w+)\}/)
  const texts = split.filter((_, index) => index % 2 === 0)
  const parts = split.filter((_, index) => index % 2 === 1).map((name) => names[name]!)
  return (article, place) => {
    let html = texts[0]!
    for (let at = 0; at < parts.length; at++) html += parts[at]!(article, place) + texts[at + 1]!
    return html
  }
}

function show(value: Article[Column]): string {
  if (typeof value === 'number') return Number.isInteger(value) ? String(value) : value.toFixed(2)
  if (typeof value === 'string') return escape(value)
  return value.map((tag) => `<em>${escape(tag)}</em>`).join(' ')
}

function escape(text: string): string {
  return /[&<>"]/.test(text) ? text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;') : text
}

function loadArticles(): Article[] {
  const random = new Random(2718)
  const words = (count: number): string => Array.from({ length: count }, () => wordOf(drawRank(random, 20_000))).join(' ')
  const sentences = Array.from({ length: 400 }, () => `${words(8 + random.below(12))}. `)
  const authors = Array.from({ length: 90 }, () => words(2))
  const loaded: Article[] = []
  for (let id = 0; id < ARTICLES; id++) {
    loaded.push({
      id,
      title: random.below(12) === 0 ? `${words(2)} & <${words(1)}>` : words(3 + random.below(4)),
      author: authors[random.below(authors.length)]!,
      category: random.below(CATEGORIES),
      views: Math.floor(1_000_000 / (1 + random.below(5000))),
      rating: 1 + random.below(400) / 100,
      published: `20${String(10 + random.below(15))}-${String(1 + random.below(12)).padStart(2, '0')}-${String(1 + random.below(28)).padStart(2, '0')}`,
      tags: Array.from({ length: 1 + random.below(3) }, () => wordOf(random.below(200))),
      // Joined, not added up: of added texts the engine keeps the parts.
      chapters: [0, 1].map(() => Array.from({ length: 70 + random.below(60) }, () => sentences[random.below(sentences.length)]!).join('')),
    })
  }
  return loaded
}
