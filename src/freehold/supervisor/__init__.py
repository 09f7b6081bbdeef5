"""One machine's orchestrator: prepares the state, starts edge, gateway, console and runners, keeps them alive.

The only part of Freehold that may start a box. Wired to the command line by `cli/up.py`.
"""
