"""The columns of the page, by cell."""
DATA = {
    "none": "none", "gzip": "gzip", "snappy": "snappy", "lz4": "lz4", "zstd": "zstd", "java-reads": "Java reads it",
    "records": "keys, nulls, times, headers", "null-header": "null header", "idempotent": "idempotent producer", "large": "large, too large",
    "transaction": "transaction",
}
GROUPS = {
    "group": "group, rebalance", "group-range": "range", "group-roundrobin": "roundrobin", "group-sticky": "sticky", "group-cooperative": "cooperative",
    "killed": "member killed", "resume": "commit, resume",
    "static": "static member", "pause": "pause, seek", "offsets": "offsets, seek by time",
}
ADMIN = {
    "create-topic": "create topic", "describe-topic": "describe topic", "create-partitions": "create partitions", "describe-config": "describe config",
    "alter-config": "alter config", "delete-records": "delete records", "describe-cluster": "describe cluster", "list-groups": "list groups", "describe-group": "describe group",
    "group-offsets": "group's offsets", "alter-offsets": "alter group's offsets", "delete-group": "delete group", "delete-topic": "delete topic",
}
TITLES = DATA | GROUPS | ADMIN
