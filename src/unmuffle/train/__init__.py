"""Training networks, with torch (extra ``[train]``).

::

    config      the recipe of a run, from and to TOML
    presets/    recipes that come with the package, and how settings are laid over them
    stft        the torch twin of signal.stft, equal by test
    losses      distances between spectra and waveforms, and their weighted sum; perceptual: STOI, PESQ-like
    targets     masks and other answers, and the oracle each of them leads to
    nets/       one network a file
    beamformer  masks learnt through a beamformer, for arrays
    loop        training: checkpoints, resuming, validation, logs
    crew        the processes of a run that share each batch (Lightning Fabric)
    measures    ESTOI and PESQ of validation mixtures
    finetune    a trained network learns the user's own noise or voice
    parity      proof that a network file does what the network does, in any split of the signal
    recover     the weights of a network file, back in the network
    checkpoint  the whole state of a run in one file

From recordings to a network file, as the commands ``unmuffle data``, ``train`` and ``export`` do it
(docs/training.md)::

    from unmuffle.data import layouts, manifest, pool
    from unmuffle.export.graph import export
    from unmuffle.train import config
    from unmuffle.train.loop import Trainer

    found = layouts.prepare("folders", "recordings")            # speech/ noise/ music/ rooms/
    clips, notes = manifest.hold_out(found.clips)
    manifest.write("manifest.jsonl", clips)
    pool.pack(clips, "pool", 16_000)                            # decode once
    Trainer("runs/mine", pool.Pool("pool"), config.load("recipe.toml")).run()
    export("runs/mine/last.pt", "mine.onnx", licence="MIT")

On a CPU set ``torch.set_num_threads`` to the cores that are free, and let the C library keep the memory that
a step gives back: fetching it anew in each step can cost more than half of the time. The command does so; in a
program of your own set ``MALLOC_MMAP_THRESHOLD_`` and ``MALLOC_TRIM_THRESHOLD_`` to a few gigabytes.
"""
