// Calls other functions, as its event says.
import { context, fetchFunction, invoke, invokeAsync, log, SkepError } from 'skep'

export async function main({ call, name = 'other', payload, timeoutMs }: { call: string; name?: string; payload?: unknown; timeoutMs?: number }): Promise<unknown> {
  log.info('calling', { name })
  try {
    switch (call) {
      case 'invoke':
        return { result: await invoke(name, payload, timeoutMs === undefined ? {} : { timeoutMs }) }
      case 'async':
        return await invokeAsync(name, payload)
      case 'fetch': {
        const response = await fetchFunction(name, '/path?q=1', { method: 'POST', body: 'request body', headers: { 'x-a': '1' } })
        return { status: response.status, type: response.headers.get('content-type'), text: await response.text(), isResponse: response instanceof Response }
      }
      default: {
        const { remainingMs, signal, ...rest } = context()
        return { ...rest, remainingMs: remainingMs(), aborted: signal.aborted }
      }
    }
  } catch (error) {
    return { isSkepError: error instanceof SkepError, code: (error as SkepError).code, message: (error as Error).message }
  }
}
