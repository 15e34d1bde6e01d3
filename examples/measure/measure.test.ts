/**
 * Goal: the shipped experiments are what their README says: the whole chapter, each row by its word, with samples enough.
 *
 * Method: every file is read as the command reads it; sub-experiments are classified as the report does it; counts are compared with those that an interval needs.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parseExperiment, samplesMax } from '#measure/experiment.ts'
import type { SubExperiment } from '#measure/experiment.ts'
import { classify, factors } from '#measure/report/classify.ts'
import { directoryNames } from '#measure/run-files.ts'
import { timeLeftMs } from '#measure/run-progress.ts'
import { samplesNeeded } from '#measure/statistics.ts'

const directory = import.meta.dirname
const files = readdirSync(directory).filter((name) => name.endsWith('.json'))
const read = (name: string): readonly SubExperiment[] => parseExperiment(readFileSync(join(directory, name), 'utf8'), name).SubExperiments
const chapter = read('chapter-3.json')
/** In the order of the chapter. */
const figures = ['warm-cold.json', 'image-size.json', 'runtime.json', 'inline.json', 'storage.json', 'reference.json', 'bursts.json', 'bursty-long.json']

const settingsOf = ({ index: _index, ...settings }: SubExperiment): object => settings

describe('every file', () => {
  for (const name of files) {
    test(`${name} has no warnings, titles that say their factor, and no two alike`, () => {
      const { warnings } = parseExperiment(readFileSync(join(directory, name), 'utf8'), name)
      assert.deepEqual(warnings, [])
      for (const one of read(name)) {
        const factor = classify(one)
        assert(one.Title.startsWith(factor), `${one.Title} is classified as ${factor}`)
      }
      assert(directoryNames(read(name)).every((one) => !/-\d+$/.test(one)), 'directories need no number')
    })
  }

  test('is in the README', () => {
    const readme = readFileSync(join(directory, 'README.md'), 'utf8')
    for (const name of files) assert(readme.includes(`\`${name}\``), name)
  })
})

describe('the chapter', () => {
  test('is the figures\' files, one after the other', () => {
    assert.deepEqual(chapter.map(settingsOf), figures.flatMap(read).map(settingsOf))
    assert.deepEqual(files.filter((name) => !figures.includes(name)).sort(), ['chapter-3.json', 'smoke.json'])
  })

  test('has every factor of Table 3.1 and its figures', () => {
    assert.deepEqual(new Set(chapter.map(classify)), new Set(factors.filter((factor) => factor !== 'other')))
    const sizes = (factor: string): number[] => chapter.filter((one) => classify(one) === factor).map(({ PayloadLengthBytes }) => PayloadLengthBytes)
    assert(Math.min(...sizes('inline')) === 1024 && Math.max(...sizes('inline')) > 4 * 2 ** 20)
    for (const kind of ['storage', 'reference']) assert(Math.min(...sizes(kind)) === 1024 && Math.max(...sizes(kind)) >= 100 * 2 ** 20, kind)
    for (const factor of ['bursty-warm', 'bursty-cold']) assert.deepEqual(chapter.filter((one) => classify(one) === factor).map(({ BurstSizes }) => BurstSizes), [[100], [300], [500]])
  })

  test('has samples enough for an interval of p99, but for those that the README names', () => {
    const few = chapter.filter((one) => samplesMax(one) < samplesNeeded(0.99)).map(({ Title }) => Title)
    const readme = readFileSync(join(directory, 'README.md'), 'utf8')
    for (const title of few) assert(readme.includes(`| ${title} |`), `${title}: ${samplesNeeded(0.99)} samples are needed`)
  })

  test('leaves most of its ten minutes to what is measured: its gaps are known', () => {
    const gapsMs = chapter.reduce((sum, settings) => sum + timeLeftMs({ settings, burstsDone: 0, burstMs: 0, burstsNeeded: undefined }), 0)
    assert(gapsMs < 6 * 60_000, `${gapsMs / 1000} s of gaps`)
  })
})
