"""The command line: the only place, beside `__main__` files, that composes processes."""
