def helper():
    pass


CONSTANT = 1
