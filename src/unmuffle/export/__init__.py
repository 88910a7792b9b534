"""Checkpoints to network files.

``graph`` writes one and has it proven (``train.parity``), ``quantise`` makes it smaller, ``cost`` counts its
operations.
"""
