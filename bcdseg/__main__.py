"""``python -m bcdseg`` is ``bcdseg``."""

from bcdseg.cli import main

main()
