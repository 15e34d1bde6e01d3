/**
 * `Promise.all` that waits for all of them also when one fails, and then throws the first failure: who cleans up after a failure
 * must not do so while the others still write.
 */
export async function allDone<Value>(promises: readonly Promise<Value>[]): Promise<Value[]> {
  const settled = await Promise.allSettled(promises)
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}
