"""The commands of ``preflight``, a module each, named as the command is; `preflight.__main__` lists them."""
