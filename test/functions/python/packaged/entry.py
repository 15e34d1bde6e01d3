"""An entry inside a package."""
from .inner import value


def main(params):
    return value
