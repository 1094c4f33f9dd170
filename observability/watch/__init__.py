"""The watcher: decides what is wrong, keeps it in the ledger, and tells the right people once."""
