"""The enhancement methods.

Begin with :mod:`.base`, the contract; :mod:`.compose` joins methods; :mod:`.registry` lists them;
:mod:`.masks` says where the voice is, for methods that want to know; :mod:`.crowd` runs many streams side by side.
Each family is a folder, each method a file:

``spectral``  gain functions over the a-priori and a-posteriori SNR of STFT bins
``kalman``    autoregressive models of speech and noise in state space
``repair``    clipping, clicks, hum, wind, rumble, levels
``dereverb``  late reverberation predicted or turned down
``spatial``   beamformers: one voice out of several microphones
``neural``    trained networks, run through onnxruntime
"""
