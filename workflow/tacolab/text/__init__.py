"""Captions to what the codec hears: tokenizers, how much they read, pretrained encoders.

Imports `config` and `files`; the codec knows only the tensors that come out.
"""
