"""Captions by a chat model: every answer is paid once and kept for ever.

`sync` and `batch` ask (`order`: a batch on its way, `batch_server`: its steps there), `answers`
keeps, `refusals` says whose fault one is, `captions` makes the table.
"""
