"""Files that appear whole or not at all, work kept in parts, progress, and who is alive.

Imports nothing of the package but `errors`.
"""
