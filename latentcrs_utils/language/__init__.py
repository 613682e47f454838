"""Language: user simulators, the Embedder (PromptEOL) and the Talkers."""
