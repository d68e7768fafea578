"""Measures the inference pod against other servers and against the bare runtime, all in one run."""
