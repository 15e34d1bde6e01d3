// Results of main(params) that cannot be sent.
export function main({ give }: { give: string }): unknown {
  const circle: Record<string, unknown> = {}
  circle['self'] = circle
  const results: Record<string, unknown> = {
    symbol: Symbol('x'),
    circle,
    big: { n: 1n },
    'status-99': { statusCode: 99, body: 'x' },
    'status-text': { statusCode: 'ok', body: 'x' },
    'header-name': { headers: { 'bad name': '1' }, body: 'x' },
    'header-value': { headers: { a: 'x\r\ny: z' }, body: 'x' },
    'header-object': { headers: { a: {} }, body: 'x' },
    'headers-huge': { headers: { a: 'x'.repeat(100_000) }, body: 'x' },
  }
  return results[give]
}
