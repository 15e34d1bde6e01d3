"""Prints, then fails while it is loaded."""
print("loading")


def prepare():
    raise RuntimeError("no database")


prepare()
