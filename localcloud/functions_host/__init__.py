"""A host for the repository's own Function App: what Azure runs around ``function_app.py``, on one machine.

The stages, in order: host.json and the app settings are read, ``function_app.py`` is imported and its functions are
indexed and validated as the Python worker would, the triggers start, the HTTP server listens, the ready file is
written. SIGTERM takes it down in the reverse order. ``localcloud/README.md`` says where it differs from Azure.
"""
