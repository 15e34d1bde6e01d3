// CommonJS: handlers as properties of module.exports.
function main(params) {
  return { got: params }
}
function other(params) {
  return { other: params }
}
module.exports = { main, other }
