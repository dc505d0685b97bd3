/* DescribeClientQuotas: client quotas cannot be set here yet, so nobody has one; what was written by another node is told.
 * Which filters there are, and which are wrong, is answered in full.
 */
#include "broker/broker.h"
#include "broker/handlers.h"
#include "broker/request.h"

enum { MATCH_EXACT = 0, MATCH_DEFAULT = 1, MATCH_ANY = 2 };

struct filter { enum kafka_error error; const char *why; };

static struct filter check_filter(const struct describe_client_quotas_request *in) {
    bool has_ip = false, has_other = false;
    for (int32_t i = 0; i < in->components_count; i++) {
        const struct describe_client_quotas_request_component_data *c = &in->components[i];
        bool is_ip = span_equal(c->entity_type, SPAN_LITERAL("ip"));
        bool is_known = is_ip || span_equal(c->entity_type, SPAN_LITERAL("user")) || span_equal(c->entity_type, SPAN_LITERAL("client-id"));
        if (c->entity_type.size == 0) return (struct filter){KAFKA_INVALID_REQUEST, "an entity's type must not be empty"};
        for (int32_t k = 0; k < i; k++)
            if (span_equal(in->components[k].entity_type, c->entity_type)) return (struct filter){KAFKA_INVALID_REQUEST, "a type of entity comes more than once"};
        if (!is_known) return (struct filter){KAFKA_UNSUPPORTED_VERSION, "entities are user, client-id and ip"};
        switch (c->match_type) {
        case MATCH_EXACT:
            if (!c->match.data) return (struct filter){KAFKA_INVALID_REQUEST, "an exact match wants a name"};
            break;
        case MATCH_DEFAULT: case MATCH_ANY:
            if (c->match.data) return (struct filter){KAFKA_INVALID_REQUEST, "only an exact match takes a name"};
            break;
        default:
            return (struct filter){KAFKA_INVALID_REQUEST, "there is no such type of match"};
        }
        has_ip |= is_ip;
        has_other |= !is_ip;
    }
    if (has_ip && has_other) return (struct filter){KAFKA_INVALID_REQUEST, "ip stands alone"};
    return (struct filter){KAFKA_NONE, NULL};
}

static bool matches(const struct describe_client_quotas_request *in, const struct image_quota *quota) {
    if (in->strict && (uint32_t)in->components_count != quota->entity_count) return false;
    for (int32_t i = 0; i < in->components_count; i++) {
        const struct describe_client_quotas_request_component_data *c = &in->components[i];
        bool found = false;
        for (uint32_t k = 0; k < quota->entity_count && !found; k++) {
            const struct image_quota_entity *entity = &quota->entities[k];
            if (!span_equal(entity->type, c->entity_type)) continue;
            found = c->match_type == MATCH_ANY || (c->match_type == MATCH_DEFAULT && !entity->name.data) ||
                    (c->match_type == MATCH_EXACT && entity->name.data && span_equal(entity->name, c->match));
        }
        if (!found) return false;
    }
    return true;
}

static bool same_entities(const struct image_quota *a, const struct image_quota *b) {
    if (!a || a->entity_count != b->entity_count) return false;
    for (uint32_t i = 0; i < a->entity_count; i++) {
        const struct image_quota_entity *x = &a->entities[i], *y = &b->entities[i];
        if (!span_equal(x->type, y->type) || !x->name.data != !y->name.data || (x->name.data && !span_equal(x->name, y->name))) return false;
    }
    return true;
}

/* Quotas of the same entities come one after another: they are one entry with several values. */
static bool add(struct request *request, struct describe_client_quotas_response *out, const struct image_quota *quota, const struct image_quota *last, uint32_t most) {
    if (!same_entities(last, quota)) {
        struct describe_client_quotas_response_entry_data *entry = &out->entries[out->entries_count++];
        entry->entity = describe_client_quotas_response_entity_data_array(&request->arena, (int32_t)quota->entity_count);
        entry->values = describe_client_quotas_response_value_data_array(&request->arena, (int32_t)most);
        if (!entry->entity || !entry->values) return false;
        for (uint32_t i = 0; i < quota->entity_count; i++) {
            entry->entity[i].entity_type = quota->entities[i].type;
            entry->entity[i].entity_name = quota->entities[i].name;
        }
        entry->entity_count = (int32_t)quota->entity_count;
    }
    struct describe_client_quotas_response_entry_data *entry = &out->entries[out->entries_count - 1];
    entry->values[entry->values_count].key = quota->key;
    entry->values[entry->values_count++].value = quota->value;
    return true;
}

void handle_describe_client_quotas(struct request *request) {
    enum { KEYS_OF_ENTITY_MAX = 8 };
    const struct describe_client_quotas_request *in = request->in;
    const struct image *image = request->broker->image;
    struct describe_client_quotas_response *out = REQUEST_NEW(request, struct describe_client_quotas_response);
    if (!out) return;
    describe_client_quotas_response_init(out);
    struct filter filter = check_filter(in);
    if (filter.error) {
        out->error_code = (int16_t)filter.error;
        out->error_message = span_text(filter.why);
        out->entries_count = -1;
        request_reply(request, out);
        return;
    }
    int32_t count = 0;
    for (const struct image_quota *q = NULL; (q = image_quota_next(image, q));) count++;
    out->error_message = SPAN_LITERAL(""); /* as Kafka says it */
    out->entries = describe_client_quotas_response_entry_data_array(&request->arena, count);
    bool made = out->entries != NULL;
    out->entries_count = 0;
    const struct image_quota *last = NULL;
    for (const struct image_quota *q = NULL; made && (q = image_quota_next(image, q));) {
        if (!matches(in, q)) continue;
        made = add(request, out, q, last, KEYS_OF_ENTITY_MAX);
        last = q;
    }
    if (made) request_reply(request, out);
    else request_refuse(request, "over budget");
}
