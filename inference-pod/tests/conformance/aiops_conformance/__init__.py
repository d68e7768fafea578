"""The same calls to the inference pod and to a real Triton, and what differs in the replies."""
