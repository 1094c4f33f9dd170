"""The ledger: the one database in which facts, incidents, notices and cursors stand."""
