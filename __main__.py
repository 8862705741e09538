"""Lets `python -m nastk` do what `nastk` does."""

from .cli import main

main()
