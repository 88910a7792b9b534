"""Media in and out: any audio or video file, pipes, raw samples; block by block, exact, atomic.

::

    with open_reader("talk.mp4") as reader, open_writer("clean.mp4", reader.info) as writer:
        for block in reader.blocks():        # float32 (channels, n), constant memory
            writer.write(block)              # the file appears when the block is left without an exception

=============  ============================================================================================
media          ``read`` and ``write`` for whole files
reader         ``open_reader`` -> ``MediaReader``: WAV/raw (also pipes), libsndfile, libav
writer         ``open_writer`` -> ``MediaWriter``: chooses container, codec, sample format as in the source
probe, info    ``probe`` -> ``MediaInfo``: what is in a file
samples        numbers in files and in memory: ``quantise``; why a copy is bit-exact
wav            the WAV family: header, RF64, chunks, pipes
sinks, carry   encoders; picture, subtitle and other streams copied untouched
mp4, aside     hours of MP4 in little memory: pictures read beside libav (``tables``, ``fragments``, ``track``)
formats        the table of containers and codecs
integrity      does the file hold what its header promises?
atomic, guard  whole or not at all; foreign exceptions translated to ours
=============  ============================================================================================
"""

from unmuffle.io.formats import supported_extensions
from unmuffle.io.info import MediaInfo
from unmuffle.io.media import read, write
from unmuffle.io.mp4 import has_long_index
from unmuffle.io.probe import probe
from unmuffle.io.reader import BLOCK_FRAMES, RAW_FORMATS, MediaReader, open_reader
from unmuffle.io.samples import count_clipped, quantise
from unmuffle.io.writer import MediaWriter, open_writer

__all__ = [
    "BLOCK_FRAMES",
    "RAW_FORMATS",
    "MediaInfo",
    "MediaReader",
    "MediaWriter",
    "count_clipped",
    "has_long_index",
    "open_reader",
    "open_writer",
    "probe",
    "quantise",
    "read",
    "supported_extensions",
    "write",
]
