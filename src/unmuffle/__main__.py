"""``python -m unmuffle`` is the command ``unmuffle``."""

from .cli.main import run

run()
