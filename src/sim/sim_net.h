/* sim/sim_net.h - a network between hosts that behaves like TCP over wires that somebody keeps pulling.
 *
 * Bytes of one connection arrive in order, each once, in pieces that the seed chooses; connections know nothing of each
 * other. A wire may delay, be cut (in one direction or both), or stand still. What was sent over a cut wire is held and
 * tried again, as TCP does, until it is healed or the sender gives up (-ETIMEDOUT); the other end is not told, and stays
 * half-open. A host that lost power forgets its connections: who sends to it later is reset.
 *
 * This header is for those who make trouble and for sim_io; programs see the network through the io seam only.
 */
#pragma once
#include "io/io.h"
#include "sim/sim.h"

struct sim_net;
enum { SIM_HOSTS_MAX = 64 };

struct sim_net_options {
    time_ns delay_min, delay_max;       /* of a piece on its way                                  */
    time_ns give_up;                    /* how long a sender tries against a cut wire             */
    uint32_t window_bytes;              /* what may be on its way or unread, for each direction   */
    bool pieces;                        /* sends and receives are cut at random                   */
};
struct sim_net_options sim_net_options_default(void);

must_use struct sim_net *sim_net_new(struct sim *sim, const struct sim_net_options *options);
void sim_net_free(struct sim_net *net);
void sim_net_set_options(struct sim_net *net, const struct sim_net_options *options);

/* Host n has the address 10.0.0.(n+1); 127.0.0.1 is each host's own. */
void sim_net_address(uint32_t host, uint16_t port, struct io_address *out);
bool sim_net_host_of(const struct io_address *address, uint32_t *host);
/* A name resolves to a host; the same name again: to one more. False: no room. */
must_use bool sim_net_name(struct sim_net *net, const char *name, uint32_t host);

/* ---- Trouble */
void sim_net_cut(struct sim_net *net, uint32_t from, uint32_t to);      /* one way */
void sim_net_heal(struct sim_net *net, uint32_t from, uint32_t to);     /* one way */
void sim_net_cut_host(struct sim_net *net, uint32_t host);              /* from and to everybody else */
void sim_net_heal_host(struct sim_net *net, uint32_t host);
void sim_net_heal_all(struct sim_net *net);
bool sim_net_is_cut(const struct sim_net *net, uint32_t from, uint32_t to);
void sim_net_slow(struct sim_net *net, uint32_t from, uint32_t to, time_ns extra); /* each piece takes that much longer */
/* Each connection between the two hosts is reset, both ends told. Answers how many. */
uint32_t sim_net_reset(struct sim_net *net, uint32_t a, uint32_t b);
/* Some connection of all, chosen by the seed, is reset. False: there is none. */
bool sim_net_reset_one(struct sim_net *net);
void sim_net_host_down(struct sim_net *net, uint32_t host); /* power: its sockets are forgotten, silently */
void sim_net_host_up(struct sim_net *net, uint32_t host);
uint32_t sim_net_connections(const struct sim_net *net);    /* with at least one living end */

/* ---- For sim_io. Operations are the io_op's of the seam; what ends is handed to `complete`. */
struct sim_net_user; /* a process on a host: what its sockets belong to */
must_use struct sim_net_user *sim_net_user_new(struct sim_net *net, uint32_t host);
/* The process died: its sockets are closed as a kernel does, reset or ended. Its operations are forgotten. */
void sim_net_user_kill(struct sim_net_user *user);
void sim_net_user_free(struct sim_net_user *user);

struct sim_net_end { /* where an operation's end is told: one for each io */
    struct sim_net_user *user;
    void (*complete)(struct sim_net_end *end, struct io_op *op, int64_t result);
    /* Bytes of a file for a send; -EAGAIN: COLD. */
    int64_t (*file_read)(struct sim_net_end *end, struct io_file *file, void *target, size_t size, uint64_t offset);
};
void sim_net_submit(struct sim_net_end *end, struct io_op *op);
int sim_net_listen(struct sim_net_end *end, struct io_socket **out, const struct io_address *address, int backlog, bool shared);
int sim_net_socket_new(struct sim_net_end *end, struct io_socket **out);
int sim_net_socket_address(struct io_socket *socket, struct io_address *own);
void sim_net_socket_close(struct io_socket *socket, bool reset);
int sim_net_socket_move(struct io_socket *socket, struct sim_net_end *to);
