"""`python -m makd`."""

from makd.cli import main

main()
