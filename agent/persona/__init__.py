"""From a history to a profile: evidence, tags, sentiment, persona, and their update."""
