/* console/page.h - the page at /metrics, from what a scrape brought home. */
#pragma once
#include "base/metric.h"
#include "console/scrape.h"

/* What the kernel says of the process; 0 where it does not. */
struct process_sample {
    double start_s, cpu_s, uptime_s;
    uint64_t resident_bytes, virtual_bytes, fds, fds_max, threads;
};
void page_write(struct metric_page *page, const struct scrape *scrape, const struct process_sample *process, time_ns took);
