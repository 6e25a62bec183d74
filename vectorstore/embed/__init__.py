"""What turns text into unit vectors: hashing (no model), llama.cpp (a GGUF file), an OpenAI-compatible endpoint."""
