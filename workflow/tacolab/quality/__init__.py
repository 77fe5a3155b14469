"""Numbers about pictures: distances, metrics, intervals over images, rate-distortion curves.

Arrays in, numbers out: reads no file of a study. Imports `codec` for its 8-bit pixels alone.
"""
