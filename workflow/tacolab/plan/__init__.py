"""What a config means: each stage declared once, its artefacts, their keys and paths.

Imports `config`, `files` and `cluster`; knows no torch, and no stage's package but by name.
"""
