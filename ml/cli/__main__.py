"""`python -m ml.cli`."""

from ml.cli.app import main

main()
