"""From disk and socket to the sinks: sources give bytes, steps make documents of them, sinks take them."""
