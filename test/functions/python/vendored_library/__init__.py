"""A package that a function brings along."""


def greeting():
    return "hello from the library"
