"""Recordings for training: what there is, packed for speed, mixed on the fly.

::

    manifest   which clips there are: JSON lines; readers for folders and for a manifest.csv pool
    pool       every clip decoded once into one memory-mapped int16 file per kind
    clean      voices freed of the noise that they were recorded with
    rooms      room impulse responses: simulated ones, and the split into early part and tail
    voices     whispers and singing, made of ordinary voices
    layouts    readers of the well-known speech collections
    render     mixtures written ahead of time, for trainers faster than a mixer
    mix        (epoch, index) -> noisy, target: seeded, the same in any process

Nothing here needs torch: a mixture is a pair of numpy arrays.
"""
