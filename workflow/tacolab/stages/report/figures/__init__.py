"""Figures, each with its data as CSV beside it; colours and sizes stand in `style`."""
