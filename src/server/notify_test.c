#include "server/notify.h"
#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager's socket under that name; the answer is what came of `lines`. */
static bool told(const char *name, const char *lines, char *got, size_t room) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    memcpy(address.sun_path, name, size);
    if (name[0] == '@') address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    bool sent = notify_send(lines);
    ssize_t bytes = recv(fd, got, room - 1, MSG_DONTWAIT);
    got[bytes > 0 ? bytes : 0] = 0;
    close(fd);
    if (name[0] == '/') unlink(name);
    unsetenv("NOTIFY_SOCKET");
    return sent;
}

/* The lines come as one datagram, to a socket in the file system and to an abstract one. */
TEST(notify_tells_the_manager) {
    char name[100], got[100];
    snprintf(name, sizeof name, "/tmp/moldau-notify-%d", (int)getpid());
    assert_true(told(name, "READY=1\nSTATUS=x", got, sizeof got));
    assert_string_equal(got, "READY=1\nSTATUS=x");
    snprintf(name, sizeof name, "@moldau-notify-%d", (int)getpid());
    assert_true(told(name, "STOPPING=1", got, sizeof got));
    assert_string_equal(got, "STOPPING=1");
}

/* Without a manager, or with a name that is none, nothing happens. */
TEST(notify_needs_a_manager) {
    static const char *const names[] = {"", "@", "relative/path", "/nowhere/at/all",
        "/tmp/a-name-that-is-longer-than-a-socket-may-have-which-is-a-hundred-and-eight-bytes-so-this-one-goes-on-and-on-and-on"};
    unsetenv("NOTIFY_SOCKET");
    assert_false(notify_send("READY=1"));
    for (size_t i = 0; i < countof(names); i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        assert_false(notify_send("READY=1"));
    }
    unsetenv("NOTIFY_SOCKET");
}

/* How many signs of life have come. */
static int signs(int fd) {
    char got[100];
    int count = 0;
    for (ssize_t bytes; (bytes = recv(fd, got, sizeof got, MSG_DONTWAIT)) > 0; count++) {
        assert_int_equal(bytes, strlen("WATCHDOG=1"));
        assert_memory_equal(got, "WATCHDOG=1", (size_t)bytes);
    }
    return count;
}

/* Signs of life come while all loops go round, and no more once one of two hangs: the second shard is not stepped. They
 * come again when it goes on. */
TEST(notify_watchdog_ends_when_a_shard_hangs) {
    struct pool pools[2], *pool_of[2] = {&pools[0], &pools[1]};
    struct io *ios[2];
    struct shard_group *group;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[100];
    for (int i = 0; i < 2; i++) {
        pool_init(&pools[i], 0, 4);
        assert_int_equal(io_open(&ios[i], &(struct io_options){.backend = IO_BACKEND_EPOLL, .offload_threads = 1, .pool = &pools[i]}), 0);
    }
    assert_int_equal(shard_group_open(&group, &(struct shard_options){.count = 2, .ios = ios, .pools = pool_of}), ERR_NONE);
    snprintf(name, sizeof name, "@moldau-watchdog-%d", (int)getpid());
    memcpy(address.sun_path, name, strlen(name));
    address.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))), 0);
    setenv("NOTIFY_SOCKET", name, 1);

    struct shard *first = shard_at(group, 0), *second = shard_at(group, 1);
    setenv("WATCHDOG_USEC", "10000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* meant for another process */
    notify_watchdog_start(group);
    assert_int_equal(signs(fd), 0);
    unsetenv("WATCHDOG_PID");
    notify_watchdog_start(group);
    int count = 0;
    for (time_ns end = shard_now(first) + 10 * NS_PER_S; count < 4 && shard_now(first) < end;) {
        shard_turn(first, shard_now(first) + NS_PER_MS);
        shard_turn(second, shard_now(second) + NS_PER_MS);
        count += signs(fd);
    }
    assert_int_equal(count, 4);
    count = 0;
    for (time_ns end = shard_now(first) + 100 * NS_PER_MS; shard_now(first) < end;) {
        shard_turn(first, shard_now(first) + NS_PER_MS);
        count += signs(fd);
    }
    assert_true(count <= 1);
    count = 0;
    for (time_ns end = shard_now(first) + 10 * NS_PER_S; count < 2 && shard_now(first) < end;) {
        shard_turn(first, shard_now(first) + NS_PER_MS);
        shard_turn(second, shard_now(second) + NS_PER_MS);
        count += signs(fd);
    }
    assert_int_equal(count, 2);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    close(fd);
    shard_group_close(group);
    for (int i = 0; i < 2; i++) pool_destroy(&pools[i]);
}
