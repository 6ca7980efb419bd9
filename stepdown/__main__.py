"""`python -m stepdown` is the `stepdown` command."""

from stepdown.cli import main

main()
