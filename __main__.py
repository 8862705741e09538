"""Lets `python -m nastk` do what `nastk` does."""

from .commands.app import main

main()
