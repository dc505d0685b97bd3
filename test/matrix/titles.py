"""The columns of the page, by cell."""
DATA = {
    "none": "none", "gzip": "gzip", "snappy": "snappy", "lz4": "lz4", "zstd": "zstd", "java-reads": "Java reads it",
    "records": "keys, nulls, times, headers", "null-header": "null header", "idempotent": "idempotent producer", "group": "group, rebalance", "resume": "commit, resume",
    "static": "static member", "offsets": "offsets, seek by time",
}
ADMIN = {
    "create-topic": "create topic", "describe-topic": "describe topic", "create-partitions": "create partitions", "describe-config": "describe config",
    "alter-config": "alter config", "delete-records": "delete records", "list-groups": "list groups", "describe-group": "describe group",
    "delete-group": "delete group", "delete-topic": "delete topic",
}
TITLES = DATA | ADMIN
