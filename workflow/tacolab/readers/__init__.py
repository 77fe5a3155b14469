"""Reads what stages have made, for the stages after them.

Imports `plan` and below, `text` and `codec`. Stages talk only through files.
"""
