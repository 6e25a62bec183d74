"""Language models behind one protocol; knows messages and schemas, nothing of prompts, people or items."""
