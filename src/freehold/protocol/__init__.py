"""Words on the wire: chat requests and events, errors, identifiers, codecs. Imports nothing else of Freehold.

Every other room speaks in these words; the runner may import this room and no other.
"""
