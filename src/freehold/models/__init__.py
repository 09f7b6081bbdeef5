"""Which models Freehold knows, where their files come from, and the store that keeps them by their hash.

Called by the supervisor (which model, is it whole, fetch it) and by `freehold model …`. A model is data: nothing here
imports or runs what it fetched, and no file enters the store before its SHA-256 is the expected one.
"""
