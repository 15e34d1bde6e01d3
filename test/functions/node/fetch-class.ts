// A fetch handler that is an instance of a class: its `this` must survive.
class Greeter {
  readonly #greeting = 'hello from a class'

  fetch(): Response {
    return new Response(this.#greeting)
  }
}

export default new Greeter()
