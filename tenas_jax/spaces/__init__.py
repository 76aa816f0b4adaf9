"""What can be chosen.

A space is data: operators, edges and masks, how its cells are stacked and how it is scored. Strings come in, masks go out,
and the other way round. NumPy only: operators and stacking are functions of a `Reading` and compute nothing by themselves.
"""
