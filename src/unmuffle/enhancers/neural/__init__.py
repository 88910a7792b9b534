"""Trained networks, run through onnxruntime.

``model``     an ONNX file and the facts it carries, each of them checked
``network``   the enhancer around a file
"""
