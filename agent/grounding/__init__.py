"""Nothing is said about a person without a receipt: what a text may say, and the check that it says nothing else."""
