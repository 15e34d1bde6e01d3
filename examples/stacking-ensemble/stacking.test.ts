/**
 * Goal: each algorithm learns what it should, and a model means the same after it was packed.
 * Method: data whose best answer is known in closed form or by looking; the shipped dataset's scores against chance.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { generateDataset, packDataset, unpackDataset } from './dataset.ts'
import type { Dataset } from './dataset.ts'
import { areaUnderCurve, crossPredict, fit, learnerOf, packModel, predict, unpackModel } from './models.ts'
import type { Model, Training } from './models.ts'

function dataset(rows: readonly (readonly [x: readonly number[], y: number])[]): Dataset {
  return { samples: rows.length, features: rows[0]![0].length, x: Float64Array.from(rows.flatMap(([x]) => x)), y: Float64Array.from(rows, ([, y]) => y) }
}
const learn = (training: Training, data: Dataset): Model => fit(learnerOf(training, data), data)
const cross = (training: Training, data: Dataset): Float64Array => crossPredict(learnerOf(training, data), data)
const near = (got: ArrayLike<number>, expected: readonly number[], within: number): void => expected.forEach((value, at) => assert(Math.abs(got[at]! - value) < within, `${at}: ${got[at]} is not ${value}`))
const line = dataset(Array.from({ length: 40 }, (_, at) => [[at / 10 - 2, (at % 5) - 2], 3 * (at / 10 - 2) - ((at % 5) - 2) + 1] as const))

describe('algorithms', () => {
  test('support vector regression finds a plane', () => near(learn({ kind: 'linear-svr', cost: 10 }, line).arrays[0]!, [3, -1, 1], 0.05))

  test('lasso shrinks each weight of orthogonal features by alpha over their mean square, and small ones to nothing', () => {
    // Columns of a Hadamard matrix: orthogonal, with mean 0 and mean square 1.
    const rows = Array.from({ length: 8 }, (_, at) => [at & 1, at & 2, at & 4].map((bit) => (bit === 0 ? 1 : -1)))
    const data = dataset(rows.map((x) => [x, 5 + 2 * x[0]! - 1 * x[1]! + 0.1 * x[2]!]))
    near(learn({ kind: 'lasso', alpha: 0.3 }, data).arrays[0]!, [1.7, -0.7, 0, 5], 1e-6)
  })

  test('nearest neighbours answer with the mean of the nearest', () => {
    const model = learn({ kind: 'knn', neighbours: 2 }, dataset([[[0], 1], [[1], 2], [[10], 30], [[11], 40]]))
    near(predict(model, dataset([[[0.4], 0], [[12], 0]])), [1.5, 35], 1e-12)
  })

  test('a forest finds a step, and its depth bounds what it can tell apart', () => {
    const step = dataset(Array.from({ length: 64 }, (_, at) => [[(at * 37) % 64, at], at < 32 ? 0 : 1] as const))
    assert.deepEqual([...predict(learn({ kind: 'forest', trees: 3, depth: 1 }, step), dataset([[[5, 3], 0], [[5, 60], 0]]))], [0, 1])
    const band = dataset(Array.from({ length: 96 }, (_, at) => [[at], at >= 32 && at < 64 ? 1 : 0] as const))
    const middle = (depth: number): number => predict(learn({ kind: 'forest', trees: 4, depth }, band), dataset([[[48], 0]]))[0]!
    assert(middle(1) < 0.6 && middle(2) > 0.8, `${middle(1)}, ${middle(2)}`)
  })

  test('logistic regression tells sides of a line apart', () => {
    const data = dataset(Array.from({ length: 50 }, (_, at) => [[at / 10 - 2.5, 1], at < 25 ? 0 : 1] as const))
    const sides = predict(learn({ kind: 'logistic' }, data), dataset([[[-2, 1], 0], [[2, 1], 0]]))
    assert(sides[0]! < 0.1 && sides[1]! > 0.9)
  })

  test('the area under the curve is 1 in order, 0 in reverse, a half for equals', () => {
    const labels = Float64Array.of(0, 0, 1, 1)
    assert.deepEqual([[1, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1], [1, 3, 2, 4]].map((scores) => areaUnderCurve(labels, Float64Array.from(scores))), [1, 0, 0.5, 0.75])
  })
})

test('a prediction across folds does not depend on the label of its own sample', () => {
  const data = generateDataset(60, 20, 7)
  const other = { ...data, y: data.y.slice() }
  other.y[11] = 1 - other.y[11]!
  for (const training of kinds) assert.equal(cross(training, data)[11], cross(training, other)[11], training.kind)
})

const kinds: readonly Training[] = [{ kind: 'linear-svr', cost: 0.1 }, { kind: 'lasso', alpha: 0.03 }, { kind: 'knn', neighbours: 5 }, { kind: 'forest', trees: 2, depth: 2 }, { kind: 'logistic' }]

test('a dataset and every model mean the same after they were packed, and are the same bytes each time', () => {
  const data = generateDataset(80, 30, 3)
  assert.deepEqual(unpackDataset(packDataset(data)), data)
  for (const training of kinds) {
    const packed = packModel(learn(training, data))
    assert.deepEqual(packModel(learn(training, data)), packed)
    assert.deepEqual(predict(unpackModel(packed), data), predict(learn(training, data), data))
  }
})

test('a learner predicts its own samples as its model does', () => {
  const data = generateDataset(61, 30, 5)
  for (const training of kinds) {
    const learner = learnerOf(training, data)
    const members = Int32Array.from({ length: 40 }, (_, at) => at)
    const out = Int32Array.of(40, 55, 60)
    const model = learner.learn(members)
    near(learner.predict(model, out), [...predict(model, data, out)], 1e-9)
  }
})

test('on the shipped dataset the linear algorithms and the forest are far better than chance', () => {
  const data = generateDataset(300, 1024, 42)
  for (const training of kinds.filter(({ kind }) => kind !== 'knn' && kind !== 'logistic')) {
    const score = areaUnderCurve(data.y, cross(training, data))
    assert(score > 0.7, `${training.kind}: ${score}`)
  }
})
