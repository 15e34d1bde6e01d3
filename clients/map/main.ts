/** What a program imports: `import { Executor } from 'skep-map'`. How to use it: docs/map.md. */
export { Executor } from './executor.ts'
export type { About, ExecutorOptions, MapOptions, MapReduceOptions } from './executor.ts'
export { Future } from './future.ts'
export type { FutureState } from './future.ts'
export type { FunctionOf } from './locate-function.ts'
export { RemoteError } from './remote-error.ts'
export type { Objects } from './object-part.ts'
export type { Progress } from './progress.ts'
