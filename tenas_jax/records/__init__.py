"""What is kept on the disc.

Files that are written all or nothing, the folder of a run, the shards of a long evaluation. Plain values come in and,
after a kill at any moment, the same come out.
"""
