/**
 * helloworld of the thesis (Table 5.1): greets somebody in a language.
 *
 * Around the one line there is what a small service usually brings: routes and message catalogues for many
 * languages, all loaded before the snapshot; a request looks at one route and one message.
 *
 *   request   {"name": "Ada", "language": "it"}
 *   answer    Ciao, Ada!
 */
import { wordOf } from '../kit/words.ts'

interface Route {
  readonly children: Map<string, Route>
  handle: ((language: string, name: string) => string) | undefined
}

const LOCALES = 96
const MESSAGES = 1000
const greetings: Readonly<Record<string, string>> = {
  de: 'Hallo, {name}!', en: 'Hello, {name}!', es: '¡Hola, {name}!', fi: 'Hei, {name}!', fr: 'Bonjour, {name} !', hu: 'Szia, {name}!', it: 'Ciao, {name}!', ja: 'こんにちは、{name}！',
  nl: 'Hallo, {name}!', pl: 'Cześć, {name}!', pt: 'Olá, {name}!', sv: 'Hej, {name}!', sw: 'Habari, {name}!', tr: 'Merhaba, {name}!', uk: 'Привіт, {name}!', zh: '你好，{name}！',
}

const catalogues = loadCatalogues()
const routes = loadRoutes()

export default {
  async fetch(request: Request): Promise<Response> {
    const { name, language } = (await request.json()) as { readonly name?: unknown; readonly language?: unknown }
    if (typeof name !== 'string' || name === '' || name.length > 100) return new Response('error: "name" is a text of 1 to 100 letters\n', { status: 400 })
    const handle = find(routes, ['v1', 'greetings', 'hello'])?.handle
    return new Response(`${handle!(typeof language === 'string' ? language : 'en', name)}\n`)
  },
}

function greet(language: string, name: string): string {
  const catalogue = catalogues.get(language) ?? catalogues.get('en')!
  return catalogue.get('greeting.hello')!.replace('{name}', name)
}

function find(route: Route, path: readonly string[]): Route | undefined {
  let at: Route | undefined = route
  for (const part of path) at = at?.children.get(part)
  return at
}

function loadCatalogues(): Map<string, Map<string, string>> {
  const all = new Map<string, Map<string, string>>()
  const languages = [...Object.keys(greetings), ...Array.from({ length: LOCALES }, (_, index) => `x-${wordOf(index + 100)}`)].slice(0, LOCALES)
  for (const [number, language] of languages.entries()) {
    const catalogue = new Map<string, string>()
    for (let index = 0; index < MESSAGES; index++) {
      const key = `${wordOf(index % 40)}.${wordOf(index)}`
      catalogue.set(key, `${wordOf(index * 7 + number * 1000)} ${wordOf(index + number * 37)} {value} ${wordOf(index * 3 + number)}.`)
    }
    catalogue.set('greeting.hello', greetings[language] ?? `${wordOf(number + 500)}, {name}!`)
    all.set(language, catalogue)
  }
  return all
}

function loadRoutes(): Route {
  const root: Route = { children: new Map(), handle: undefined }
  const add = (path: readonly string[], handle: Route['handle']): void => {
    let at = root
    for (const part of path) {
      let next = at.children.get(part)
      if (next === undefined) at.children.set(part, (next = { children: new Map(), handle: undefined }))
      at = next
    }
    at.handle = handle
  }
  for (let index = 0; index < 600; index++) add(['v1', wordOf(index % 30), wordOf(index + 300)], (language) => `${wordOf(index)}: ${language}`)
  add(['v1', 'greetings', 'hello'], greet)
  return root
}
