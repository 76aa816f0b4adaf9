"""The reference: TE-NAS's networks, indicators and search in PyTorch, and what carries weights from there to here."""
