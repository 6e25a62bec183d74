"""Training the served model on this job: examples, low-rank adapters, and what they change.

Stands above everything that answers and below the command line; nothing that answers imports it.
"""
