"""Histories: importing what people did, and keeping it in SQL, which is the truth; knows no model and no index."""
