// The smallest function: give it {"name": "you"}, or open its URL with ?name=you.
export function main(params: { name?: string }) {
  return { greeting: `Hello, ${params.name ?? 'world'}!` }
}
