"""Where raw scans come from: each source leaves shards of scans that were verified."""
