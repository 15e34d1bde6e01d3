// Lambda's shape.
export const handler = async (event: Record<string, unknown>, context: Record<string, unknown> & { getRemainingTimeInMillis(): number }): Promise<unknown> => {
  if (event['give'] === 'parts') return { statusCode: 202, body: 'aGk=', isBase64Encoded: true, headers: { 'content-type': 'text/plain' }, cookies: ['a=1'] }
  return { event, context, remainingMs: context.getRemainingTimeInMillis() }
}
