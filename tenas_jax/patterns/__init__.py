"""Expressivity.

Functions and inputs come in; which side of every piecewise-linear unit an input is on, how many distinct patterns that
makes and how far apart they are go out.
"""
