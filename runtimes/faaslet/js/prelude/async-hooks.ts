/**
 * What the SDK's runtime needs of Node's node:async_hooks, where there is one invocation at a time: a function is bound to it anyway.
 */
export const AsyncLocalStorage = {
  bind<Run>(run: Run): Run {
    return run
  },
}
