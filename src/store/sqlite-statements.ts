/** Prepared statements of one connection, each prepared when it is first needed. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

export class SqliteStatements {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  /** @param sql A constant: every different text is kept. */
  of(sql: string): StatementSync {
    let statement = this.#prepared.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#prepared.set(sql, statement)
    }
    return statement
  }
}

/** The numbers of queue and journal names, which stand in the table `names`. */
export class SqliteNames {
  readonly #statements: SqliteStatements
  readonly #numbers = new Map<string, number>()

  constructor(statements: SqliteStatements) {
    this.#statements = statements
  }

  /** Undefined when nothing was ever stored under the name. */
  find(name: string): number | undefined {
    const known = this.#numbers.get(name)
    if (known !== undefined) return known
    const row = this.#statements.of('SELECT number FROM names WHERE name = ?').get(name)
    if (row === undefined) return undefined
    this.#numbers.set(name, Number(row['number']))
    return Number(row['number'])
  }

  /** Inside a writing transaction. */
  findOrAdd(name: string): number {
    const found = this.find(name)
    if (found !== undefined) return found
    const number = Number(this.#statements.of('INSERT INTO names (name) VALUES (?)').run(name).lastInsertRowid)
    this.#numbers.set(name, number)
    return number
  }

  /** After a rollback: a name may have been added by what did not happen. */
  forget(): void {
    this.#numbers.clear()
  }
}
