"""Fetch pictures politely into raw tars: per-host limits, resumption by shard, a reason for every row."""
