"""What is scored or trained.

The network definitions of `spaces`, read as feature maps with weights (a Flax module, or one `lax.scan` over a cell's
edges), and as parameters and multiply-adds. Models of other frameworks come in as `apply_fn(variables, images)`.
"""
