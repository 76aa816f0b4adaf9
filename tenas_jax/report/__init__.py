"""A page.

The folder of a run comes in, a self-contained HTML page goes out.
"""
