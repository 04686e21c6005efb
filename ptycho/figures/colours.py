"""The colours of curves, for whatever draws them."""

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
"""Okabe and Ito (2008): told apart with every kind of colour vision."""
