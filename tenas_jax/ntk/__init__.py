"""Trainability.

Masks or functions and images come in, neural tangent kernels and what their spectra say go out: in closed form at infinite
width (`analytic`), of one finite network (`empirical`), and through neural-tangents for comparison.
"""
