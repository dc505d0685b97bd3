/* net/net_rig.h - what net's tests share: one shard with a net and a listener over a backend of the seam, and clients on
 * the same shard that send and collect bytes. The same tests run over the kernel's backends and over the simulator. */
#pragma once
#include "net/net.h"

struct sim;
struct sim_net;
struct sim_host;
struct sim_process;

enum rig_kind { RIG_EPOLL, RIG_URING, RIG_SIM, RIG_COUNT };

struct rig {
    enum rig_kind kind;
    struct pool real_pool, *pool;
    struct io *io;
    struct shard_group *group;
    struct shard *shard;
    struct net *net;
    struct listener *listener;
    struct sim *sim;
    struct sim_net *wires;
    struct sim_host *host;
    struct sim_process *process;
};

struct client {
    struct rig *rig;
    struct io_socket *socket;
    struct io_op in, out;
    struct arena arena;
    struct chain chain;
    uint8_t *got;
    size_t got_bytes, got_max;
    bool connected, deaf, ended; /* deaf: reads nothing */
    int64_t error;
    uint8_t piece[4096];
};

/* Runs the test over each backend that is here; says the name of one that is not. */
void each_rig(void (*test)(struct rig *rig));
void rig_listen(struct rig *rig, const struct net_limits *limits, const struct listener_options *options); /* NULLs: defaults */
void rig_stop(struct rig *rig);                        /* listener and net, at once */
void rig_turns(struct rig *rig, uint32_t turns);       /* that many, without waiting long */
void rig_for(struct rig *rig, time_ms span);           /* turns for that long */
void rig_until(struct rig *rig, bool (*is_so)(void *context), void *context);
void rig_until_flag(struct rig *rig, const bool *flag);

void client_open(struct client *client, struct rig *rig, size_t got_max);
void client_send(struct client *client, const void *bytes, size_t size); /* copied; may be called before all is sent */
void client_send_frame(struct client *client, const void *bytes, size_t size);
void client_listen(struct client *client);             /* no longer deaf */
void client_until(struct client *client, size_t bytes);/* turns until so many have come in all */
void client_until_ended(struct client *client);
void client_close(struct client *client);              /* asserts nothing about how it stands */
