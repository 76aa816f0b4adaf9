"""What the benchmarks share: records of results, timing, halves of a space, statistics, tables of the documents."""
