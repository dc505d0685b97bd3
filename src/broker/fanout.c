#include "broker/fanout.h"
#include "broker/broker.h"
#include "broker/dispatch.h"

void fanout_begin(struct request *request, void (*joined)(struct request *)) {
    assert(request->outstanding == 0);
    request->outstanding = 1;
    request->away_since = io_now(request->broker->shard->io);
    request->joined = joined;
}

static void one_less(struct request *request) {
    assert(request->outstanding > 0);
    if (--request->outstanding > 0) return;
    request->away += io_now(request->broker->shard->io) - request->away_since;
    const char *before = panic_context_set(request->row->name); /* it goes on from somebody else's event */
    request->joined(request);
    panic_context_set(before);
}

void fanout_sent(struct request *request) {
    one_less(request);
}

static void arrive_home(struct share *share) {
    if (share->back) share->back(share);
    one_less(share->request);
}

static void message_home(struct shard *shard, struct message *message) {
    arrive_home(container_of(message, struct share, message));
}

static void message_there(struct shard *shard, struct message *message) {
    struct share *share = container_of(message, struct share, message);
    share->there = shard->roles[ROLE_BROKER];
    const char *before = panic_context_set(share->request->row->name);
    share->run(share);
    panic_context_set(before);
}

void fanout_send(struct request *request, uint32_t to, struct share *share, void (*run)(struct share *), void (*back)(struct share *)) {
    struct broker *home = request->broker;
    if (!share->request) { /* a fetch's share goes out twice: to read, and to wait */
        share->request = request;
        share->next = request->shares;
        request->shares = share;
    }
    share->home = home;
    share->run = run;
    share->back = back;
    request->outstanding++;
    if (to == home->shard->index) {
        share->there = home;
        run(share);
        return;
    }
    share->message.run = message_there;
    shard_send(home->shard, to, &share->message);
}

static void run_again(struct timer *timer) {
    struct share *share = container_of(timer, struct share, again);
    const char *before = panic_context_set(share->request->row->name);
    share->run(share);
    panic_context_set(before);
}

bool fanout_again(struct share *share) {
    struct shard *shard = share->there->shard;
    return timer_set(shard, &share->again, shard_now(shard), run_again);
}

void fanout_done(struct share *share) {
    if (share->there == share->home) {
        arrive_home(share);
        return;
    }
    share->message.run = message_home;
    shard_send(share->there->shard, share->home->shard->index, &share->message);
}
