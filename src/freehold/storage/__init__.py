"""State that outlives a process: engine, tables, migrations, and one query module per noun.

SQLite in the state folder by default, PostgreSQL by URL. Query functions take an open connection and plain values and
give frozen rows; who may ask is decided above, in `identity` and `console`.
"""
