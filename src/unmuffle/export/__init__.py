"""Checkpoints to network files: ``graph`` writes one, ``parity`` proves that it does the same."""
