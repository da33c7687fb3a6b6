"""The seal: every committed row gets its place in one sequence and its Merkle leaf."""
