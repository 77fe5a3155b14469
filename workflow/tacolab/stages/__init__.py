"""A package per stage, which makes its artefacts; no stage imports another.

What each makes of what, and where it lies, is declared in `plan`.
"""
