"""`python -m streampose` is the command."""

from streampose.cli import main

main()
