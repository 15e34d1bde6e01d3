// Lambda's older shape, with a callback, in CommonJS.
exports.handler = (event, context, callback) => {
  setTimeout(() => (event.fail ? callback(new Error('called back with an error')) : callback(null, { got: event })), 1)
}
