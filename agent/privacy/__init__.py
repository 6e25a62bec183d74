"""A person's rights: their data out, and gone."""
