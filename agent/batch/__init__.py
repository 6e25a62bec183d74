"""Batch persona tagging: durable jobs over many people, and the engines that work them off."""
