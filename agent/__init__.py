"""The agent: everything between a person's history and an explained recommendation."""
