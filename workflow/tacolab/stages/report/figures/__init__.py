"""Figures, each with its data as CSV beside it: a module for each kind, all drawn by `drawing`.

Colours and sizes stand in `style`. Imports what `measure` says, and nothing of the page.
"""
