"""Exact tiling: an image goes through the network's layers by rows, in bounded memory."""
