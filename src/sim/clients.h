/* sim/clients.h - clients that speak the wire and nothing else: an admin, idempotent producers, consumers, the members of
 * a classic group. All of them live in one process on a host of their own, which nothing happens to; what they learn goes
 * into a history.
 */
#pragma once
#include "sim/cluster.h"
#include "sim/history.h"

struct clients;
enum client_done { CLIENT_PRODUCED, CLIENT_COMMITTED, CLIENT_CREATED, CLIENT_DELETED, CLIENT_DONE_KINDS };
struct clients_options {
    struct run *run;
    struct history *history;
    uint32_t server_host;                 /* the first broker's host; its port is 9092 */
    uint32_t partitions, producers, consumers, members;
    bool durable;                         /* what is acknowledged must survive a power cut */
    uint32_t batch_records_max;
    bool creates_topics;                  /* besides the one topic of the history */
    bool deletes_records;                 /* of its beginning                     */
    const char *const *dirs;              /* the node's log directories: the admin moves partitions between them */
    uint32_t dir_count;
    void (*acknowledged)(void *context, enum client_done what); /* a client was just told so */
    void *context;
};
/* In the process that was started on the clients' host. Its memory is the process'. */
struct clients *clients_start(struct cluster_node *node, const struct clients_options *options);

/* Phase 2: everybody has done something since `clients_mark`. */
void clients_mark(struct clients *clients);
bool clients_are_live(const struct clients *clients);
/* The clients that are not, for the report. */
void clients_text(const struct clients *clients, struct text *out);
/* Phase 3: nobody writes any more; one consumer reads everything from the beginning, the admin looks for every topic. */
void clients_verify(struct clients *clients);
bool clients_are_verified(const struct clients *clients);
