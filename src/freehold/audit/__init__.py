"""The tamper-evident log: who did what, never what they said.

An append-only RFC 6962 Merkle tree with signed checkpoints, which a third party verifies offline from the files and the
public key alone. Everything that acts writes here before its effect is visible.
"""
