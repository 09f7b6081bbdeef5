"""The edge: the one door that listens on TCP. A real Envoy, its configuration a pure function of the settings.

`config` renders the files that Envoy reads, `certificates` makes or checks what it shows, `process` says how to start
and stop it, and `relay` configures the second Envoy through which a runner reaches a declared outside engine. The
supervisor calls these four; nothing here starts a process of its own except Envoy's validation mode.
"""
