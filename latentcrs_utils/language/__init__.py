"""Language: text encoders, the encoding of utterances, and the ChatModels."""
