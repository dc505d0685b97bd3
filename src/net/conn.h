/* net/conn.h - what conn and listener share. Private to net/. */
#pragma once
#include "net/net.h"

/* A connection on its way from the listener's shard to its own and, when it has ended, back: the listener's counts are
 * the listener's alone. Owned by the listener. */
struct ticket {
    struct message message;
    struct listener *listener;
    struct io_socket *socket;
    struct io_address peer, own;
    struct address_count *by_address;
    const struct conn_owner *owner;
    void *context;
    bool untrusted, is_protected;
};

/* Takes the socket; when there is no memory or the net is stopping, it is closed and the ticket goes back. */
void conn_adopt(struct shard *shard, struct ticket *ticket);
void ticket_return(struct shard *shard, struct ticket *ticket); /* from the shard on which the connection was */
