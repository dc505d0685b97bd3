#include "base/metric.h"
#include "console/console.h"
#include <string.h>

static const char words[] =
    "# Metrics\n\n"
    "Everything that a node tells of itself at `/metrics`, in OpenMetrics 1.0 for whoever asks for it, as\n"
    "Prometheus does (`Accept: application/openmetrics-text`), else in Prometheus's text format 0.0.4. This page is printed by\n"
    "`moldau metrics doc` from the table in `src/base/metric.tbl`.\n\n"
    "A node serves HTTP where `moldau.http.listener` says so, as in `moldau.http.listener=127.0.0.1:9404`; `moldau dev` does so by\n"
    "itself and says where. There is no authentication: whoever reaches the address can read names of topics, groups and\n"
    "directories. It is made for the loopback or a network of its own.\n\n"
    "| path | answer |\n|--|--|\n"
    "| `/metrics` | this |\n"
    "| `/health/live` | 200 when the loop of every shard has come round within 5 s, else 503 |\n"
    "| `/health/ready` | 200 when the node is registered, not fenced, and serves; else 503 with a sentence. A log directory that has failed is named in the answer, and changes no 200 |\n\n"
    "A node that lost one of several log directories stays ready: it leads and serves the partitions of the others, as in Apache\n"
    "Kafka, and to take it out of service would take those away, too. What failed is told by the answer's further lines, by\n"
    "`moldau_log_dir_online` and by `kafka_log_logmanager_offlinelogdirectorycount`: alarms belong there. Without its metadata\n"
    "directory a node stops by itself.\n\n"
    "At most 64 connections, 32 from one address, 16 KiB for a request's headers; who is silent for 10 s is closed. The shards are asked\n"
    "ten times a second at most; a scrape that comes sooner waits.\n\n"
    "## Names\n\n"
    "Where Apache Kafka has a metric of the same meaning and unit, it has the name under which Prometheus's JMX exporter commonly shows\n"
    "it (the MBean's domain, type and name in small letters, `_total` for a count); group lag has the names of the usual lag\n"
    "exporters. So a dashboard made for Kafka finds what it looks for. Where meaning or unit would differ - Kafka tells percentiles\n"
    "in milliseconds, these are histograms in seconds - the name begins with `moldau_`, so that no dashboard reads a wrong number.\n"
    "Counters begin at 0 with the process. Histograms have two buckets for each doubling, from 16 microseconds to 67 seconds.\n";

static void cell(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '|') fputc('\\', out);
        fputc(*text, out);
    }
}

void console_document(FILE *out) {
    static const char *const kinds[] = {[METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    fputs(words, out);
    for (int i = 0; i < METRICS_COUNT; i++) {
        const char *more = NULL, *title = metric_section((enum metric_id)i, &more);
        if (title) fprintf(out, "\n## %s\n\n%s%s| metric | kind | labels | unit | what it says |\n|--|--|--|--|--|\n", title, more, *more ? "\n\n" : "");
        fprintf(out, "| `%s` | %s | ", metrics[i].name, kinds[metrics[i].kind]);
        for (const char *at = metrics[i].labels; *at; at++) fputs(*at == ',' ? ", " : (char[]){*at, 0}, out);
        fprintf(out, " | %s | ", metrics[i].unit);
        cell(out, metrics[i].help);
        fputs(" |\n", out);
    }
}
