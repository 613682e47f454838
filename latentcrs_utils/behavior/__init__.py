"""What users do: the sequence encoder, ICLRec's contrasts, and pretraining."""
