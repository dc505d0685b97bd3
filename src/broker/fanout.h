/* broker/fanout.h - the one place where a request is split over shards and joined again.
 *
 * A share is the part of a request that one shard works on. It travels there as a message and comes back as one; with
 * the owner on this shard it is a plain call. While it is away, its memory is the other shard's: what that shard
 * allocates for it comes from the share's own arena, which travels with it.
 *
 *     fanout_begin -> fanout_send for each share -> fanout_sent     (the request's shard)
 *     share->run(there, share) ... fanout_done(share)               (the owner's shard, at once or any time later)
 *     share->back(share) for each, then request->joined(request)    (the request's shard again)
 */
#pragma once
#include "broker/request.h"
#include "shard/shard.h"

struct share {
    struct message message;
    struct request *request;       /* only the request's shard may look into it */
    struct broker *home;           /* the request's broker */
    struct broker *there;          /* the owner's          */
    struct arena arena;            /* travels with the share; gone when the request is */
    struct share *next;            /* of the request, for the handler's use */
    void (*run)(struct share *share);
    void (*back)(struct share *share); /* may be NULL */
    struct timer again;
};

/* Holds the request together until fanout_sent, even if every share comes back at once. */
void fanout_begin(struct request *request, void (*joined)(struct request *));
void fanout_send(struct request *request, uint32_t shard, struct share *share, void (*run)(struct share *), void (*back)(struct share *));
void fanout_sent(struct request *request);
void fanout_done(struct share *share); /* on the owner's shard, once */
/* On the owner's shard, from `run` that has done a part of what may take long: it is called again in the next turn, when others
 * were served. Only for what may be done in any order with other requests. False: no memory for it, go on here. */
must_use bool fanout_again(struct share *share);
