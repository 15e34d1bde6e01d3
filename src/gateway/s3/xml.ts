/**
 * The XML of S3: written as text, and read (with sax, strictly) into elements.
 *
 * Read are three small documents: keys to delete, parts to complete, the region of a new bucket. A document type is refused: nothing
 * that S3 clients send has one, and entities are what attacks on readers of XML are made of.
 */
import sax from 'sax'
import { S3Error } from './errors.ts'

export interface Element {
  /** Without namespace prefix. */
  readonly name: string
  readonly children: readonly Element[]
  readonly text: string
}

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
const DEPTH_MAX = 8
const ELEMENTS_MAX = 50_000

/** An element with text, or with elements that are written already. */
export function element(name: string, content: string | number | boolean | readonly string[]): string {
  const inside = typeof content === 'object' ? content.join('') : escapeXml(String(content))
  return `<${name}>${inside}</${name}>`
}

export function xmlDocument(name: string, content: readonly string[], options: { readonly namespace: boolean } = { namespace: true }): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name}${options.namespace ? ` xmlns="${NAMESPACE}"` : ''}>${content.join('')}</${name}>`
}

/** Control characters have no form in XML 1.0; as references they reach readers that are lenient, as S3's clients are. */
function escapeXml(text: string): string {
  return text.replace(/[&<>"'\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, (character) => ENTITIES[character] ?? `&#x${character.charCodeAt(0).toString(16).toUpperCase()};`)
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/** @param root Its name. @throws S3Error MalformedXML. */
export function parseXml(text: string, root: string): Element {
  const parser = sax.parser(true, { position: false })
  const open: { name: string; children: Element[]; text: string }[] = []
  let found: Element | undefined
  let count = 0
  parser.onerror = (error) => {
    throw malformed(error.message.split('\n', 1)[0]!)
  }
  parser.ondoctype = () => {
    throw malformed('a document type is not allowed')
  }
  parser.onopentag = ({ name }) => {
    if (found !== undefined) throw malformed('something follows the root')
    if (open.length === DEPTH_MAX || ++count > ELEMENTS_MAX) throw malformed(`more than ${DEPTH_MAX} levels or ${ELEMENTS_MAX} elements`)
    open.push({ name: name.slice(name.indexOf(':') + 1), children: [], text: '' })
  }
  parser.ontext = parser.oncdata = (part) => {
    const inner = open.at(-1)
    if (inner !== undefined) inner.text += part
  }
  parser.onclosetag = () => {
    const closed = open.pop()!
    const outer = open.at(-1)
    if (outer === undefined) found = closed
    else outer.children.push(closed)
  }
  try {
    parser.write(text).close()
  } catch (thrown) {
    throw thrown instanceof S3Error ? thrown : malformed(String(thrown))
  }
  if (found?.name !== root) throw malformed(`the root is ${found?.name ?? 'missing'}, and should be ${root}`)
  return found
}

export function childrenOf(parent: Element, name: string): readonly Element[] {
  return parent.children.filter((child) => child.name === name)
}

export function textOf(parent: Element, name: string): string | undefined {
  return parent.children.find((child) => child.name === name)?.text
}

function malformed(why: string): S3Error {
  return new S3Error('MalformedXML', `The XML in the body can't be read: ${why}.`)
}
