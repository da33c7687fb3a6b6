"""The transparency log: Merkle tree, proofs, signed notes and checkpoints."""
