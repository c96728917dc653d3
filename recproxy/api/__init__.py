"""The HTTP API: calls, recordings, holds, audit, health and metrics for people and programs.

It runs in its own thread beside the signalling thread. It serves ciphertext and facts; it
can open no recording. ``docs/api.md`` tells how it is used.
"""
