"""Finds sensitive data in what goes in, what comes out and what is logged; masks, blocks or flags it.

Pure: bytes and policies in, findings and text out. The gateway applies it to prompts and to streams of answers.
"""
