"""The command ``unmuffle``: :mod:`.main` puts the commands together, one file each.

Exit codes: 0 done, 1 some of several files failed, 2 wrong usage, 3 the input cannot be used,
4 the output cannot be written, 5 an optional package is missing, 6 a model file is broken,
130 interrupted.
"""
