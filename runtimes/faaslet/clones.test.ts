/**
 * Goal: clones of one snapshot share its memory and nothing else: of 10,000 no two draw an equal random value (R1), and nothing that one
 * writes is seen by the next, with memories that are used again and again (memories.ts M1 to M3).
 *
 * Method: the host's own parts in this process: guests, memories, restores by copy and from an image on the disk. No process, no frames.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { exampleMemory, temporaryDirectory } from '../../src/pager/example-snapshot.fake.ts'
import { writeImage } from '../../src/pager/image-file.ts'
import { loadNative } from '../../src/pager/native.ts'
import { nonZeroChunks } from '../../src/pager/zero-pages.ts'
import { ImageSource, TemplateSource } from './faaslet-source.ts'
import { boot, capture, restore } from './faaslets.ts'
import type { Faaslet, Guest } from './guest.ts'
import { GuestKit } from './js/guest-kit.ts'
import { Memories } from './memories.ts'

const CLONES = 10_000
