"""Trained networks, run through onnxruntime.

``runtime``   onnxruntime, told to keep to itself
``model``     an ONNX file and the facts it carries, each of them checked
``network``   the enhancer around a file
``native``    frames of ``live`` as machine code; ``weights`` reads them out of the file
``bands``     what tiny hears: band energies, coherence; ``pitch`` its pitch
``tiny``      the small network with its analysis; ``live`` the other one
"""
