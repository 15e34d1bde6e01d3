/** Root of the checkout (or installed package) that this file is part of. */
import { join } from 'node:path'

export const sourceRoot = join(import.meta.dirname, '..', '..')
