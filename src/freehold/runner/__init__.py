"""The program in the box: one Unix socket in, the engines of one workspace behind it, nothing out.

Started as `python -I -m freehold.runner` by a driver, which gives its configuration on stdin. Of Freehold it imports
`protocol` and nothing else; the supervisor imports `runner.config` to say what it wants.
"""
