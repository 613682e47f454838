"""Language: the Embedder (PromptEOL), the encoder of utterances, and the ChatModels."""
