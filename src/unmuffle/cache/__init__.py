"""Results that were made before: the same file with the same method and options is not enhanced twice.

=============  ==============================================================================
key            what makes two enhancements the same
store          what a place for results must do, and how the entries look
disk           results as files in a folder: the default
index          the folder's database: ``diskcache``, kept from unpickling anything
redis          results in Redis, for services that share them (extra ``redis``)
front          ``open_cache``, and ``enhance_file`` through a cache
=============  ==============================================================================

::

    cache = open_cache("~/.cache/unmuffle")
    report, state = enhance_file(cache, "talk.wav", "clean.wav", "log-mmse")     # state: "hit", "miss", "off"

An entry is never believed: it carries the digest of its content, and one that is damaged counts as absent and is
removed. A cache that cannot be reached, or is full, is no error; the file is enhanced as without it.
"""

from .front import Cache, enhance_file, open_cache

__all__ = ["Cache", "enhance_file", "open_cache"]
