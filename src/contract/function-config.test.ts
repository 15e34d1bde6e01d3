/**
 * Goal: docs/configuration.md says of every setting of a function what the schema says, and of nothing else.
 *
 * Method: the page's table is read and compared, row by row and in order, with the JSON Schema that zod makes of
 * `functionConfig`: keys, defaults, and every number and word of the ranges. Then the ranges are tried at their edges.
 */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, test } from 'node:test'
import * as z from 'zod'
import { quotaDefaults } from '#registry/namespaces.ts'
import { concurrencyDefaults, functionConfig, functionName } from './function-config.ts'

interface Property {
  readonly type?: string
  readonly default?: unknown
  readonly enum?: readonly string[]
  readonly minimum?: number
  readonly maximum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly maxItems?: number
  readonly items?: Property
  readonly additionalProperties?: Property
  readonly oneOf?: readonly { readonly properties: Readonly<Record<string, Property & { readonly const?: string }>> }[]
}

interface Row {
  readonly key: string
  readonly default: string
  readonly range: string
  readonly meaning: string
}

const schema = z.toJSONSchema(functionConfig, { io: 'input' }) as unknown as { readonly properties: Readonly<Record<string, Property>>; readonly required: readonly string[] }
const minimal = { kind: 'node', entry: 'index.mjs' } as const

async function documentedRows(title = 'A function'): Promise<readonly Row[]> {
  const page = await readFile(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  const section = page.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? ''
  return section.split('\n').filter((line) => line.startsWith('| `')).map((line) => {
    const [key = '', byDefault = '', range = '', meaning = ''] = line.split('|').slice(1).map((cell) => cell.trim())
    return { key: key.replaceAll('`', ''), default: byDefault, range, meaning }
  })
}

/** Every bound and word that a property's range has; its row has to name each. */
function limitsOf(property: Property): readonly string[] {
  const { minimum, maximum, minLength, maxLength, maxItems, items, additionalProperties, oneOf } = property
  return [
    ...[minimum, maximum, minLength, maxLength, maxItems].filter((limit) => limit !== undefined).map(String),
    ...(property.enum ?? []),
    // A pattern's bound is the code's to say: only lengths are compared.
    ...(items === undefined ? [] : limitsOf(items)),
    ...(additionalProperties === undefined ? [] : limitsOf(additionalProperties)),
    ...(oneOf ?? []).flatMap(({ properties }) => Object.entries(properties).flatMap(([name, inner]) => (inner.const === undefined ? [name, ...limitsOf(inner)] : [inner.const]))),
  ]
}

const numbersAndWords = (text: string): readonly string[] => text.match(/[\w.-]*\w/g) ?? []

describe('docs/configuration.md', () => {
  test('names every setting of a function, in the order of the schema, and no other', async () => {
    assert.deepEqual((await documentedRows()).map(({ key }) => key), Object.keys(schema.properties))
  })

  test('gives each its default, exactly as it is applied', async () => {
    const applied: Readonly<Record<string, unknown>> = functionConfig.parse(minimal)
    for (const row of await documentedRows()) {
      const value = row.key in minimal ? undefined : applied[row.key]
      if (row.key === 'concurrency') {
        for (const [kind, most] of Object.entries(concurrencyDefaults)) assert(row.default.includes(`${kind} ${most}`), `concurrency: ${kind} ${most}`)
      } else if (value === undefined) {
        assert.match(row.default, /^(?:told|recognised) by /, row.key)
      } else {
        const text = row.default.replaceAll('`', '')
        assert.deepEqual(typeof value === 'string' ? text : JSON.parse(text), value, row.key)
      }
    }
  })

  test('gives each its range, and says what it means', async () => {
    for (const { key, range, meaning } of await documentedRows()) {
      const named = numbersAndWords(range)
      for (const limit of limitsOf(schema.properties[key]!)) assert(named.includes(limit), `${key}: the range "${range}" does not name ${limit}`)
      assert(meaning.length > 20, `${key} has no meaning`)
    }
  })
})

test('the page gives the quotas of a namespace with their defaults', async () => {
  const documented = (await documentedRows('A namespace')).map((row) => [row.key, Number(row.default)])
  assert.deepEqual(documented, Object.entries(quotaDefaults))
})

describe('functionConfig', () => {
  test('takes each number at both ends of its range, and nothing beyond', () => {
    for (const [key, { type, minimum, maximum }] of Object.entries(schema.properties)) {
      if (type !== 'integer' && type !== 'number') continue
      assert(minimum !== undefined && maximum !== undefined, `${key} has no bound`)
      for (const [value, ok] of [[minimum, true], [maximum, true], [minimum - 1, false], [maximum + 1, false], [Number.NaN, false]] as const) {
        assert.equal(functionConfig.safeParse({ ...minimal, [key]: value }).success, ok, `${key}: ${value}`)
      }
    }
  })

  test('refuses a key that it does not know, and what lacks kind or entry', () => {
    assert.equal(functionConfig.safeParse({ ...minimal, memoryMB: 128 }).success, false)
    assert.deepEqual([...schema.required].sort(), ['entry', 'kind'])
    for (const key of schema.required) assert.equal(functionConfig.safeParse({ ...minimal, [key]: undefined }).success, false, key)
  })

  test('a name is one segment of a path: 1 to 64 characters, beginning with a letter or digit', () => {
    for (const name of ['a', '0', 'A.b-c_d', 'x'.repeat(64)]) assert(functionName.safeParse(name).success, name)
    for (const name of ['', '.', '..', '.a', '-a', 'a/b', 'a b', 'ä', 'a\n', 'x'.repeat(65)]) assert(!functionName.safeParse(name).success, JSON.stringify(name))
  })
})
