"""Finds sensitive data in what goes in, what comes out and what is logged; masks, blocks or flags it.

Pure, but for `book`: bytes and policies in, findings and text out. The door is `passage.Guard`; `book.guard_of` makes
one out of the database. The gateway applies it to prompts and to streams of answers.
"""
