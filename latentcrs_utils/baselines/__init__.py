"""The systems of the tables that know nothing of intents, one module each."""
