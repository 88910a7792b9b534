"""Checkpoints to network files.

``graph`` writes one, ``parity`` proves that it does what the network did, ``quantise`` makes it smaller.
"""
