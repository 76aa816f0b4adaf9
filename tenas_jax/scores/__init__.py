"""One number of many architectures.

The catalogue of scores, their presets, and what evaluates them: a space, images and masks come in, values with their health
go out, and ranks of them.
"""
