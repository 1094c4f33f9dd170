"""Files as sources: find them, tell them apart, read them once, whatever rotates or deletes them."""
