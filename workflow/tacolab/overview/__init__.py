"""What people ask about a study as a whole: its status, its costs, whether this machine can run it.

Imports everything but `cli`.
"""
