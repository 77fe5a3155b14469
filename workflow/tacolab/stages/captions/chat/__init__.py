"""Captions by a chat model: every answer is paid once and kept for ever.

`sync` and `batch` ask, `answers` keeps, `captions` makes the table.
"""
