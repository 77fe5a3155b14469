"""What the study claims, and what the measurements say of it.

A claim (`claims`) is looked up in the tables of `measure` by the function of its relation
(`observations`), with caveats (`caveats`) and what other captions do (`support`); the intervals
decide it by the other function of its relation (`relations`), as far as caveats let them
(`verdicts`). Nothing is measured here.
"""
