"""Stage `evaluate`: coding to real files, metrics of what they decode to, classical anchors.

Coding and metrics are separate steps, so that a new or corrected metric codes nothing again.
"""
