// Throws while it is loaded.
function prepare(): never {
  throw new Error('no database')
}

prepare()
