"""Stage `report`: figures, tables, a gallery and one page that opens from disk.

It reads files only, without torch, so it works on a laptop from a copy of results/.
"""
