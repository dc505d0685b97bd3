#include "server/notify.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool notify_send(const char *lines) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = path ? strlen(path) : 0;
    if (size < 2 || size >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return false;
    memcpy(address.sun_path, path, size);
    if (path[0] == '@') address.sun_path[0] = 0; /* an abstract name: no file */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    ssize_t sent = sendto(fd, lines, strlen(lines), MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size));
    close(fd);
    return sent == (ssize_t)strlen(lines);
}

/* ---- signs of life */

/* A message that goes to a shard and back: while it is away, that loop has not gone round. */
struct pulse {
    struct message message;
    bool is_away;
};
static struct watchdog {
    struct shard_group *group;
    struct timer timer;
    time_ns period;
    struct pulse pulses[SHARDS_MAX];
} watchdog;

static void came_home(struct shard *shard, struct message *message) {
    container_of(message, struct pulse, message)->is_away = false;
}

static void passed_through(struct shard *shard, struct message *message) {
    message->run = came_home;
    shard_send(shard, message->from, message);
}

static void beat(struct timer *timer) {
    struct shard *shard = shard_at(watchdog.group, 0);
    bool all_are_home = true;
    for (uint32_t i = 0; i < shard_count(watchdog.group); i++) all_are_home &= !watchdog.pulses[i].is_away;
    if (all_are_home) {
        notify_send("WATCHDOG=1");
        for (uint32_t i = 0; i < shard_count(watchdog.group); i++) {
            watchdog.pulses[i].is_away = true;
            watchdog.pulses[i].message.run = passed_through;
            shard_send(shard, i, &watchdog.pulses[i].message);
        }
    }
    /* Without memory for the timer the signs end, and with them the process: the manager starts it again. */
    if (!timer_set(shard, &watchdog.timer, shard_now(shard) + watchdog.period, beat)) return;
}

void notify_watchdog_start(struct shard_group *group) {
    const char *every = getenv("WATCHDOG_USEC"), *whose = getenv("WATCHDOG_PID");
    long long us = every ? strtoll(every, NULL, 10) : 0;
    if (us <= 0 || us > INT64_MAX / 1000 || (whose && strtoll(whose, NULL, 10) != getpid())) return;
    watchdog.group = group;
    watchdog.period = us * 1000 / 2;
    beat(&watchdog.timer);
}
