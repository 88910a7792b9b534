"""Training networks, with torch (extra ``[train]``).

::

    config      the recipe of a run, from and to TOML
    stft        the torch twin of signal.stft, equal by test
    losses      distances between spectra and waveforms, and their weighted sum; perceptual: STOI, PESQ-like
    targets     masks and other answers, and the oracle each of them leads to
    nets/       one network a file
    beamformer  masks learnt through a beamformer, for arrays
    loop        training: checkpoints, resuming, validation, logs
    finetune    a trained network learns the user's own noise or voice
    checkpoint  the whole state of a run in one file

From recordings to a network file::

    from unmuffle.data import layouts, manifest, pool
    from unmuffle.export.graph import export
    from unmuffle.train import config
    from unmuffle.train.loop import Trainer

    found = layouts.prepare("folders", "recordings")            # speech/ noise/ music/ rooms/
    clips = manifest.split_validation(found.clips)
    manifest.write("manifest.jsonl", clips)
    pool.pack(clips, "pool", 16_000)                            # decode once
    Trainer("runs/mine", pool.Pool("pool"), config.load("recipe.toml")).run()
    export("runs/mine/last.pt", "mine.onnx", licence="MIT")

On a CPU set ``torch.set_num_threads`` to the cores that are free, and in the environment
``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` to a few gigabytes: memory that is given back to
the system and fetched anew in each step costs more than half of the time otherwise.
"""
