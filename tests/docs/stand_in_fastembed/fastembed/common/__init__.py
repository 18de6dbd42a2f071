"""As fastembed has it."""
