#include "server/settings.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct reading {
    struct settings *out;
    struct config_view view;
    struct text *why;
};

static bool fail(struct reading *reading, enum config_id id, const char *what) {
    struct span value = config_text(&reading->view, id, NULL);
    text_add(reading->why, "%s=%.*s: %s", config_key(id)->name, (int)value.size, (const char *)value.data, what);
    return false;
}

static bool copy(char *target, size_t room, struct span text) {
    if (text.size >= room) return false;
    if (text.size) memcpy(target, text.data, text.size);
    target[text.size] = 0;
    return true;
}

static int64_t number(struct reading *reading, enum config_id id) {
    return config_number(&reading->view, id);
}

/* ---- what is not served must not be taken for served ------------------------------------------------------------------ */

static bool refuse_security(struct reading *reading) {
    static const struct {
        enum config_id id;
        const char *what;
    } refused[] = {
        {KEY_authorizer_class_name, "authorizers are not served yet; without one every client may do everything"},
        {KEY_client_quota_callback_class, "client quotas are not served yet"},
        {KEY_create_topic_policy_class_name, "policies are Java classes and cannot be run here"},
        {KEY_alter_config_policy_class_name, "policies are Java classes and cannot be run here"},
    };
    for (size_t i = 0; i < countof(refused); i++) {
        enum config_source source;
        struct span value = config_text(&reading->view, refused[i].id, &source);
        if (source != SOURCE_DEFAULT && value.size > 0) return fail(reading, refused[i].id, refused[i].what);
    }
    struct span protocol = config_text(&reading->view, KEY_security_inter_broker_protocol, NULL);
    if (!span_equal(protocol, SPAN_LITERAL("PLAINTEXT"))) return fail(reading, KEY_security_inter_broker_protocol, "only PLAINTEXT is served yet");
    if (config_flag(&reading->view, KEY_remote_log_storage_system_enable)) return fail(reading, KEY_remote_log_storage_system_enable, "tiered storage is not served yet");
    return true;
}

static bool read_roles(struct reading *reading) {
    struct span roles = config_text(&reading->view, KEY_process_roles, NULL);
    struct settings *out = reading->out;
    out->is_broker = config_list_contains(roles, SPAN_LITERAL("broker"));
    out->is_controller = config_list_contains(roles, SPAN_LITERAL("controller"));
    if (!out->is_broker || !out->is_controller) return fail(reading, KEY_process_roles, "only a node with both roles, broker,controller, is served yet");
    return true;
}

/* ---- listeners ----------------------------------------------------------------------------------------------------------- */

struct endpoint {
    struct span name, host;
    int64_t port;
};

/* Listeners' names are the same in any case, as in Kafka: upper case from here on. */
static bool same_name(struct span a, struct span b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++) {
        uint8_t x = a.data[i], y = b.data[i];
        if (x >= 'a' && x <= 'z') x = (uint8_t)(x - 32);
        if (y >= 'a' && y <= 'z') y = (uint8_t)(y - 32);
        if (x != y) return false;
    }
    return true;
}

static bool is_named(struct span list, struct span name) {
    for (struct span one; config_list_next(&list, &one);)
        if (same_name(one, name)) return true;
    return false;
}

static bool copy_name(char *target, size_t room, struct span name) {
    if (!copy(target, room, name)) return false;
    for (; *target; target++)
        if (*target >= 'a' && *target <= 'z') *target = (char)(*target - 32);
    return true;
}

/* NAME://host:port; the host may be empty or in brackets. */
static bool parse_endpoint(struct span text, struct endpoint *out) {
    const char *at = (const char *)text.data, *end = at + text.size;
    const char *colon = memchr(at, ':', text.size);
    if (!colon || end - colon < 3 || colon[1] != '/' || colon[2] != '/') return false;
    out->name = span_of(at, (size_t)(colon - at));
    const char *host = colon + 3, *last = end;
    while (last > host && last[-1] != ':') last--;
    if (last == host) return false;
    out->host = span_of(host, (size_t)(last - 1 - host));
    if (out->host.size >= 2 && out->host.data[0] == '[' && out->host.data[out->host.size - 1] == ']') out->host = span_of(out->host.data + 1, out->host.size - 2);
    return out->name.size > 0 && config_parse_integer(span_of(last, (size_t)(end - last)), &out->port) && out->port >= 0 && out->port <= 65535;
}

/* The security protocol of a listener by listener.security.protocol.map; a controller listener that the default map does
 * not know is PLAINTEXT, as in Kafka. */
static struct span protocol_of(struct reading *reading, struct span name) {
    enum config_source source;
    struct span rest = config_text(&reading->view, KEY_listener_security_protocol_map, &source), item;
    while (config_list_next(&rest, &item)) {
        const uint8_t *colon = memchr(item.data, ':', item.size);
        if (!colon) continue;
        if (same_name(span_of(item.data, (size_t)(colon - item.data)), name)) return span_of(colon + 1, (size_t)(item.data + item.size - colon - 1));
    }
    struct span controllers = config_text(&reading->view, KEY_controller_listener_names, NULL);
    if (source == SOURCE_DEFAULT && is_named(controllers, name)) return SPAN_LITERAL("PLAINTEXT");
    return (struct span){0};
}

static struct broker_listener *listener_named(struct settings *out, struct span name) {
    for (uint32_t i = 0; i < out->listener_count; i++)
        if (same_name(span_text(out->listeners[i].name), name)) return &out->listeners[i];
    return NULL;
}

bool settings_resolve(const char *host, uint16_t port, struct io_address *out) {
    char text[320];
    if (!host[0]) host = "0.0.0.0";
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
    if (io_address_parse(text, out)) return true;
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, NULL, &hints, &found)) return false;
    bool is_v4 = false, any = false;
    for (const struct addrinfo *i = found; i && !is_v4; i = i->ai_next) {
        char address[INET6_ADDRSTRLEN];
        if (getnameinfo(i->ai_addr, i->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST) || (any && i->ai_family != AF_INET)) continue;
        snprintf(text, sizeof text, strchr(address, ':') ? "[%s]:%d" : "%s:%d", address, port);
        any = io_address_parse(text, out) || any;
        is_v4 = any && i->ai_family == AF_INET;
    }
    freeaddrinfo(found);
    return any;
}

/* What a listener tells that listens everywhere: this machine's name, if there is one that leads here, as Kafka tells it. */
static void own_name(char out[256]) {
    char name[256] = "";
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_CANONNAME};
    if (gethostname(name, sizeof name - 1) == 0 && name[0] && getaddrinfo(name, NULL, &hints, &found) == 0 && found)
        snprintf(out, 256, "%s", found->ai_canonname ? found->ai_canonname : name);
    else snprintf(out, 256, "localhost");
    if (found) freeaddrinfo(found);
}

static bool is_everywhere(const char *host) {
    return !host[0] || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* One port serves one listener, but an address of IPv4 and one of IPv6 may share it; 0 is any that is free. */
static bool port_is_taken(const struct settings *out, const struct broker_listener *listener) {
    struct io_address address;
    char text[320];
    for (const struct broker_listener *other = out->listeners; other < listener; other++) {
        bool one_v6 = strchr(listener->host, ':') != NULL, other_v6 = strchr(other->host, ':') != NULL;
        const char *v4 = one_v6 ? other->host : listener->host;
        snprintf(text, sizeof text, "%s:0", v4);
        if (listener->port && listener->port == other->port && !(one_v6 != other_v6 && io_address_parse(text, &address))) return true;
    }
    return false;
}

static bool read_listener(struct reading *reading, const struct endpoint *endpoint) {
    struct settings *out = reading->out;
    if (listener_named(out, endpoint->name)) return fail(reading, KEY_listeners, "a listener's name is there twice");
    struct span protocol = protocol_of(reading, endpoint->name);
    if (!protocol.data) return fail(reading, KEY_listeners, "a listener's name is not in listener.security.protocol.map");
    if (!same_name(protocol, SPAN_LITERAL("PLAINTEXT"))) return fail(reading, KEY_listeners, "only PLAINTEXT listeners are served yet, no SSL and no SASL");
    struct broker_listener *listener = &out->listeners[out->listener_count++];
    if (!copy_name(listener->name, sizeof listener->name, endpoint->name) || !copy(listener->host, sizeof listener->host, endpoint->host))
        return fail(reading, KEY_listeners, "a name is too long");
    listener->port = (uint16_t)endpoint->port;
    if (port_is_taken(out, listener)) return fail(reading, KEY_listeners, "two listeners have the same port");
    if (!settings_resolve(listener->host, listener->port, &listener->address)) return fail(reading, KEY_listeners, "a host to listen on leads to no address: an address of this machine is wanted, a name that leads to one, or nothing for all");
    listener->is_controller = is_named(config_text(&reading->view, KEY_controller_listener_names, NULL), endpoint->name);
    return true;
}

static bool read_advertised(struct reading *reading, uint32_t *told) {
    struct settings *out = reading->out;
    struct span rest = config_text(&reading->view, KEY_advertised_listeners, NULL), item;
    struct endpoint endpoint;
    while (rest.data && config_list_next(&rest, &item)) {
        if (!parse_endpoint(item, &endpoint)) return fail(reading, KEY_advertised_listeners, "each listener is NAME://host:port");
        struct broker_listener *listener = listener_named(out, endpoint.name);
        if (!listener) return fail(reading, KEY_advertised_listeners, "advertises a listener that is not in listeners");
        if (span_equal(endpoint.host, SPAN_LITERAL("0.0.0.0")) || span_equal(endpoint.host, SPAN_LITERAL("::")))
            return fail(reading, KEY_advertised_listeners, "clients cannot connect to every address at once (0.0.0.0, [::]): a name or an address that they can reach is needed");
        if (!copy(listener->host, sizeof listener->host, endpoint.host)) return fail(reading, KEY_advertised_listeners, "a host is too long");
        listener->port = (uint16_t)endpoint.port;
        *told |= 1u << (listener - out->listeners);
    }
    /* Without advertised.listeners clients are told what listeners says. "[::]" passes there, as in Kafka. */
    for (uint32_t i = 0; i < out->listener_count && *told == 0; i++)
        if (!out->listeners[i].is_controller && strcmp(out->listeners[i].host, "0.0.0.0") == 0)
            return fail(reading, KEY_listeners, "clients cannot connect to 0.0.0.0: advertised.listeners must say by which name or address they reach this broker, or the host be left out for this machine's name");
    return true;
}

/* The listener of the brokers among themselves: one of brokers', and one that is told. */
static bool read_own_listener(struct reading *reading, uint32_t told) {
    struct settings *out = reading->out;
    enum config_source source;
    struct span name = config_text(&reading->view, KEY_inter_broker_listener_name, NULL);
    struct span protocol = config_text(&reading->view, KEY_security_inter_broker_protocol, &source);
    uint32_t brokers = 0;
    for (uint32_t i = 0; i < out->listener_count; i++) brokers += !out->listeners[i].is_controller;
    if (brokers == 0) return fail(reading, KEY_listeners, "a broker needs a listener besides the controller's");
    if (name.data && source != SOURCE_DEFAULT) return fail(reading, KEY_inter_broker_listener_name, "security.inter.broker.protocol says it, too: only one of them may be set");
    enum config_id id = name.data ? KEY_inter_broker_listener_name : KEY_security_inter_broker_protocol;
    struct broker_listener *listener = listener_named(out, name.data ? name : protocol);
    if (!listener && !name.data) return fail(reading, id, "no listener has this name: say in inter.broker.listener.name which one the brokers use among themselves");
    if (!listener) return fail(reading, id, "is not in listeners");
    if (listener->is_controller) return fail(reading, id, "is a listener of the controller");
    if (told && !(told & 1u << (listener - out->listeners))) return fail(reading, id, "is not in advertised.listeners");
    listener->is_protected = brokers > 1;
    return true;
}

static bool read_listeners(struct reading *reading) {
    struct settings *out = reading->out;
    struct span rest = config_text(&reading->view, KEY_listeners, NULL), item;
    struct span controllers = config_text(&reading->view, KEY_controller_listener_names, NULL), first = controllers;
    struct endpoint endpoint;
    uint32_t told = 0;
    if (!config_list_next(&first, &item) || !copy_name(out->controller_listener, sizeof out->controller_listener, item))
        return fail(reading, KEY_controller_listener_names, "the name of the controller's listener is needed");
    while (config_list_next(&rest, &item)) {
        if (out->listener_count == LISTENERS_MAX) return fail(reading, KEY_listeners, "too many listeners");
        if (!parse_endpoint(item, &endpoint)) return fail(reading, KEY_listeners, "each listener is NAME://host:port");
        if (!read_listener(reading, &endpoint)) return false;
    }
    if (!read_advertised(reading, &told) || !read_own_listener(reading, told)) return false;
    for (uint32_t i = 0; i < out->listener_count; i++)
        if (is_everywhere(out->listeners[i].host)) own_name(out->listeners[i].host);
    while (config_list_next(&controllers, &item))
        if (!listener_named(out, item)) return fail(reading, KEY_controller_listener_names, "is not in listeners");
    for (rest = config_text(&reading->view, KEY_early_start_listeners, NULL); rest.data && config_list_next(&rest, &item);)
        if (!listener_named(out, item)) return fail(reading, KEY_early_start_listeners, "is not in listeners");
    return true;
}

static bool read_overrides(struct reading *reading) {
    char what[OVERRIDE_HOST_MAX + 64];
    struct text why;
    text_init(&why, what, sizeof what);
    return overrides_read(&reading->out->overrides, config_text(&reading->view, KEY_max_connections_per_ip_overrides, NULL), &why) ||
           fail(reading, KEY_max_connections_per_ip_overrides, what);
}

static bool read_dirs(struct reading *reading) {
    struct settings *out = reading->out;
    struct span dirs = config_text(&reading->view, KEY_log_dirs, NULL), item;
    if (!dirs.data || dirs.size == 0) dirs = config_text(&reading->view, KEY_log_dir, NULL);
    while (config_list_next(&dirs, &item)) {
        bool is_there = false; /* named twice it is still one directory, as for Apache Kafka */
        for (uint32_t i = 0; i < out->log_dir_count; i++) is_there |= span_equal(span_text(out->log_dirs[i]), item);
        if (is_there) continue;
        if (out->log_dir_count == LOG_DIRS_MAX || !copy(out->log_dirs[out->log_dir_count++], LOG_PATH_MAX, item)) return fail(reading, KEY_log_dirs, "too many, or too long");
    }
    if (out->log_dir_count == 0) return fail(reading, KEY_log_dirs, "at least one directory is needed");
    struct span metadata = config_text(&reading->view, KEY_metadata_log_dir, NULL);
    if (!copy(out->metadata_dir, sizeof out->metadata_dir, metadata.data ? metadata : span_text(out->log_dirs[0]))) return fail(reading, KEY_metadata_log_dir, "is too long");
    return true;
}

/* id@host:port, ...: a controller is one of them. */
static bool read_voters(struct reading *reading) {
    struct span rest = config_text(&reading->view, KEY_controller_quorum_voters, NULL), item;
    bool any = false, found = false;
    for (; config_list_next(&rest, &item); any = true) {
        const uint8_t *sign = memchr(item.data, '@', item.size);
        int64_t id;
        found |= sign && config_parse_integer(span_of(item.data, (size_t)(sign - item.data)), &id) && id == reading->out->node;
    }
    if (any && !found) return fail(reading, KEY_controller_quorum_voters, "node.id is not among them, and a controller must be");
    return true;
}

/* Kafka's own by their short names and by their classes; others are Java and cannot be run here. */
static bool read_assignors(struct reading *reading) {
    static const struct { enum config_id id; const char *known; } lists[] = {
        {KEY_group_consumer_assignors, "uniform,range,org.apache.kafka.coordinator.group.assignor.UniformAssignor,org.apache.kafka.coordinator.group.assignor.RangeAssignor"},
        {KEY_group_share_assignors, "simple,org.apache.kafka.coordinator.group.assignor.SimpleAssignor"},
        {KEY_group_streams_assignors, "sticky,org.apache.kafka.coordinator.group.streams.assignor.StickyTaskAssignor"},
    };
    for (size_t i = 0; i < countof(lists); i++)
        for (struct span rest = config_text(&reading->view, lists[i].id, NULL), item; config_list_next(&rest, &item);)
            if (!config_list_contains(span_text(lists[i].known), item)) return fail(reading, lists[i].id, "one of them is not known, and a Java class cannot be run here");
    return true;
}

/* "2%" of the disk (the default), or a number of bytes. */
static bool read_reserve(struct reading *reading) {
    struct span text = config_text(&reading->view, KEY_moldau_disk_reserve, NULL);
    int64_t bytes;
    if (span_equal(text, SPAN_LITERAL("2%"))) reading->out->disk_reserve_bytes = UINT64_MAX;
    else if (config_parse_integer(text, &bytes) && bytes >= 0) reading->out->disk_reserve_bytes = (uint64_t)bytes;
    else return fail(reading, KEY_moldau_disk_reserve, "2% or a number of bytes");
    return true;
}

static bool read_trace(struct reading *reading) {
    static const enum config_id lists[] = {KEY_moldau_trace_addresses, KEY_moldau_trace_apis, KEY_moldau_trace_clients};
    for (size_t i = 0; i < countof(lists); i++)
        if (!config_check_trace(config_key(lists[i]), config_text(&reading->view, lists[i], NULL), reading->why)) return false;
    if (copy(reading->out->trace_file, sizeof reading->out->trace_file, config_text(&reading->view, KEY_moldau_trace_file, NULL))) return true;
    return fail(reading, KEY_moldau_trace_file, "is too long");
}

static bool read_http(struct reading *reading) {
    struct span text = config_text(&reading->view, KEY_moldau_http_listener, NULL);
    char host[IO_ADDRESS_TEXT_MAX], address[IO_ADDRESS_TEXT_MAX + 16];
    if (text.size == 0) return true;
    const uint8_t *colon = memrchr(text.data, ':', text.size);
    size_t size = colon ? (size_t)(colon - text.data) : 0;
    if (!colon || !copy(host, sizeof host, span_of(text.data, size))) return fail(reading, KEY_moldau_http_listener, "host:port is wanted");
    if (size == 0) snprintf(host, sizeof host, "0.0.0.0");
    if (strcmp(host, "localhost") == 0) snprintf(host, sizeof host, "127.0.0.1");
    snprintf(address, sizeof address, "%s%.*s", host, (int)(text.size - size), (const char *)colon);
    if (!io_address_parse(address, &reading->out->http)) return fail(reading, KEY_moldau_http_listener, "host:port is wanted, the host an IP address, localhost, or empty for all");
    reading->out->serves_http = true;
    return true;
}

bool settings_read(struct settings *out, const struct config_values *values, struct text *why, struct text *warnings) {
    struct reading reading = {.out = out, .view = {.values = values, .broker = -1}, .why = why};
    memset(out, 0, sizeof *out);
    out->values = values;
    if (warnings) config_values_warn(values, warnings);
    if (!config_values_validate(values, why)) return false;
    out->node = (broker_id)number(&reading, KEY_node_id);
    reading.view.broker = out->node;
    if (!refuse_security(&reading) || !read_roles(&reading) || !read_voters(&reading) || !read_assignors(&reading) || !read_listeners(&reading) || !read_overrides(&reading) || !read_dirs(&reading) ||
        !read_reserve(&reading) || !read_http(&reading) || !read_trace(&reading)) return false;
    struct span rack = config_text(&reading.view, KEY_broker_rack, NULL);
    if (!copy(out->rack, sizeof out->rack, rack)) return fail(&reading, KEY_broker_rack, "is too long");
    if (!copy(out->voters, sizeof out->voters, config_text(&reading.view, KEY_controller_quorum_voters, NULL))) return fail(&reading, KEY_controller_quorum_voters, "is too long");
    out->page_cache = span_equal(config_text(&reading.view, KEY_moldau_durability, NULL), SPAN_LITERAL("page-cache"));
    out->shards = (uint32_t)number(&reading, KEY_moldau_shards);
    out->memory_bytes = (uint64_t)number(&reading, KEY_moldau_memory_max);
    struct span backend = config_text(&reading.view, KEY_io_backend, NULL);
    out->backend = span_equal(backend, SPAN_LITERAL("io_uring")) ? IO_BACKEND_URING
                   : span_equal(backend, SPAN_LITERAL("epoll")) ? IO_BACKEND_EPOLL
                                                                : IO_BACKEND_AUTO;
    return true;
}
