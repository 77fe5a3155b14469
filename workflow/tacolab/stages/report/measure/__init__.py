"""What was measured: values, curves and differences of arms, each with its interval over images.

A module for each table of numbers; none says what a number means for a claim. Imports `quality`
for the arithmetic, and of the report only its inputs, frames and layout.
"""
