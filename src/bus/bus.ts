/**
 * The bus: control messages between gateway, activator and workers (design: the second seam to the outside).
 *
 * Embedded default: calls inside one process (bus/local-bus.ts). Later: NATS. One suite: bus.conformance.ts.
 * Messages are JSON values of at most 64 KB: larger bytes use the transfer plane.
 *
 * Promises:
 *   M1. A published message reaches every listener of the subject that was there before, in the publisher's order, at most once.
 *   M2. A request is answered by exactly one responder, or fails: no responder (START_FAILED at once), time out
 *       (QUEUE_TIMEOUT), or the responder's own PlatformError with its code.
 *   M3. Members that stop beating are reported as gone after `lossMs`; a member that leaves is reported at once.
 */

export interface BusMember {
  readonly id: string
  /** What it tells the others about itself, e.g. a worker's capacity. */
  readonly details: unknown
}

export interface Bus {
  publish(subject: string, message: unknown): void
  /** `*` matches one part between dots, `>` all remaining ones. @returns unsubscribe. */
  subscribe(subject: string, listener: (message: unknown, subject: string) => void): () => void
  request<Answer>(subject: string, message: unknown, options: { readonly timeoutMs: number }): Promise<Answer>
  respond(subject: string, responder: (message: unknown) => Promise<unknown>): () => void

  /** Joins the members of a group until left. Updating details: join again with the same id. */
  join(group: string, member: BusMember): () => void
  members(group: string): readonly BusMember[]
  watchMembers(group: string, listener: (change: { readonly kind: 'joined' | 'updated' | 'gone'; readonly member: BusMember }) => void): () => void

  close(): Promise<void>
}
