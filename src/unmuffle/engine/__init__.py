"""Arrays and files through an enhancer.

``options``  what can be asked of an enhancement: method, strength, repair, stereo, loudness
``arrays``   :func:`~unmuffle.engine.arrays.enhance`: a whole signal in memory
``stream``   :class:`~unmuffle.engine.stream.LiveStream`: beside a sound device, on time or aligned dry
``beams``    a microphone array in front: dereverberation, a beam, a method behind
``files``    :func:`~unmuffle.engine.files.enhance_file`: any media file, in constant memory
"""
