"""The conversation: understanding a turn, remembering it, and answering with items of the catalogue only."""
