/**
 * Goal: frames are what was filmed, whatever is no fragment is refused, and the shipped weights recognise what the film shows.
 * Method: small films; fragments cut and changed at random (a failure prints its seed).
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { seededRandom } from '../transports/seeded-random.ts'
import { FragmentError, decodeFrames, encodeFragment, frameBytes, readHead } from './fragment.ts'
import { INPUT, pictureOf } from './network.ts'
import { recognise } from './recognise.ts'
import { filmLabels, paintFilm } from './scene.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 32))
const small = { width: 192, height: 108, frames: 12, framesPerObject: 4, seed: 3 }
const copies = (frames: Iterable<Uint8Array>): Buffer[] => Array.from(frames, (frame) => Buffer.from(frame))

describe('a fragment', () => {
  const film = copies(paintFilm(small))
  const fragment = encodeFragment({ ...small, fps: 30 }, film)

  test('gives back each frame as it was (V1), in less space', () => {
    assert.deepEqual(readHead(fragment), { width: 192, height: 108, fps: 30, frames: 12 })
    assert.deepEqual(copies(decodeFrames(fragment)), film)
    assert(fragment.length < film.length * frameBytes(small) * 0.3)
  })

  test('of any bytes comes back (V1): differences wrap around', () => {
    const random = seededRandom(seed)
    const frames = Array.from({ length: 3 }, () => Buffer.from(Array.from({ length: frameBytes({ width: 8, height: 4 }) }, () => Math.floor(random() * 256))))
    assert.deepEqual(copies(decodeFrames(encodeFragment({ width: 8, height: 4, fps: 1 }, frames))), frames, `SEED=${seed}`)
  })

  test(`that was cut or changed is refused, or decodes to frames of its size (V2, SEED=${seed})`, () => {
    const random = seededRandom(seed)
    const whole = encodeFragment({ width: 16, height: 8, fps: 1 }, Array.from({ length: 3 }, (_, at) => Buffer.alloc(192, at)))
    for (let round = 0; round < 3000; round++) {
      const bytes = Buffer.from(whole.subarray(0, random() < 0.3 ? Math.floor(random() * whole.length) : whole.length))
      for (let changes = 1 + Math.floor(random() * 3); changes > 0 && bytes.length > 0; changes--) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      try {
        for (const frame of decodeFrames(bytes)) assert.equal(frame.length, frameBytes(readHead(bytes)))
      } catch (error) {
        assert(error instanceof FragmentError, `SEED=${seed}: ${String(error)}`)
      }
    }
  })

  test('refuses a frame of another size', () => {
    assert.throws(() => encodeFragment({ width: 8, height: 8, fps: 1 }, [new Uint8Array(10)]), /96 bytes, and not 10/)
  })
})

describe('the recogniser', () => {
  test('is right about almost all of a film that it was not trained on, in full size', () => {
    const film = { width: 1920, height: 1080, frames: 24, framesPerObject: 1, seed: 77 }
    const shown = filmLabels(film)
    assert(new Set(shown).size >= 4)
    const right = Array.from(paintFilm(film), (frame, at) => recognise(frame, film).label === shown[at]).filter(Boolean).length
    assert(right >= 20, `${right} of 24`)
  })

  test('shrinks a frame by means over boxes, all planes alike', () => {
    const frame = new Uint8Array(frameBytes(small)).fill(64, 0, 192 * 108).fill(128, 192 * 108)
    const picture = pictureOf(frame, small)
    const plane = INPUT.width * INPUT.height
    assert.deepEqual([picture[0], picture[plane - 1], picture[plane], picture[3 * plane - 1]], [-0.5, -0.5, 0, 0])
    assert.throws(() => pictureOf(frame, { width: 190, height: 108 }), /multiple of 192 x 108/)
  })
})
