"""Steps for bytes on their way: find out which file it is, make documents, notice a death."""
