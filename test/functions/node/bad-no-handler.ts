// Exports no handler.
export const mian = (): string => "a typing error"
export const version = 1
