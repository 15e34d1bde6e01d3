// A syntax error on line 3.
export const one = 1
export const two = = 2
