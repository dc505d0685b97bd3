// Driver of Apache Kafka's Java clients; the same source is built with 4.4 and with 3.9.
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Driver {
    static final long START_MS = 1700000000000L;
    static String bootstrap, capability, topic, group, argument;

    // ---- the rule of a record
    static byte[] bytes(String text) { return text.getBytes(StandardCharsets.UTF_8); }
    static byte[] key(long i) { return bytes("key-" + i); }
    static byte[] value(long i) { return bytes("value-" + i + "-" + "abc".repeat((int) (i % 100))); }

    static boolean right(ConsumerRecord<byte[], byte[]> r, long o) {
        return r.offset() == o && Arrays.equals(r.key(), key(o % 500)) && Arrays.equals(r.value(), value(o % 500));
    }

    static String hex(byte[] data) {
        if (data == null) return "null";
        StringBuilder out = new StringBuilder("\"");
        for (byte b : data) out.append(String.format("%02x", b));
        return out.append('"').toString();
    }

    static String quoted(Collection<String> words) {
        StringJoiner out = new StringJoiner(", ", "[", "]");
        for (String word : words) out.add('"' + word + '"');
        return out.toString();
    }

    // ---- clients
    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", bootstrap);
        all.put("auto.offset.reset", "earliest");
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static KafkaConsumer<byte[], byte[]> member(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("group.id", group);
        all.put("session.timeout.ms", 10000);
        all.put("heartbeat.interval.ms", 1000);
        return consumer(all);
    }

    static void write(Map<String, Object> settings) throws Exception {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("linger.ms", 20);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(all)) {
            for (int i = 0; i < 500; i++) sent.add(producer.send(new ProducerRecord<>(topic, 0, key(i), value(i))));
            for (Future<RecordMetadata> one : sent) one.get(30, TimeUnit.SECONDS);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> poll(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> out = new ArrayList<>();
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (out.size() < count) {
            if (System.nanoTime() > deadline) throw new IllegalStateException("only " + out.size() + " of " + count + " records came");
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) out.add(r);
        }
        return out;
    }

    static List<ConsumerRecord<byte[], byte[]>> fetch(String from, long offset, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("isolation.level", "read_committed"))) {
            TopicPartition there = new TopicPartition(from, 0);
            consumer.assign(List.of(there));
            consumer.seek(there, offset);
            return poll(consumer, count);
        }
    }

    static int read(String from, int count) {
        int right = 0;
        long o = 0;
        for (ConsumerRecord<byte[], byte[]> r : fetch(from, 0, count).subList(0, count)) if (right(r, o++)) right++;
        return right;
    }

    static int readCounted(String name) { // NAME:COUNT
        int at = name.lastIndexOf(':');
        return read(name.substring(0, at), Integer.parseInt(name.substring(at + 1)));
    }

    static String codec() throws Exception {
        write(Map.of("compression.type", capability));
        return "{\"own\": " + read(topic, 500) + ", \"foreign\": " + readCounted(argument) + "}";
    }

    static ProducerRecord<byte[], byte[]> odd(String key, String value, int ms, Header... headers) {
        return new ProducerRecord<>(topic, 0, START_MS + ms, key == null ? null : key.getBytes(StandardCharsets.ISO_8859_1),
            value == null ? null : bytes(value), Arrays.asList(headers));
    }

    static String records() throws Exception {
        List<ProducerRecord<byte[], byte[]>> odd = capability.equals("null-header") ? List.of(odd("k", "v", 0, new RecordHeader("n", (byte[]) null)))
            : List.of(odd("\u0000\u00ff", "v0", 0, new RecordHeader("a", bytes("a")), new RecordHeader("b", bytes("")), new RecordHeader("a", bytes("b"))),
                odd(null, "v1", 1), odd("k2", null, 2), odd("", "", 3));
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
            for (ProducerRecord<byte[], byte[]> one : odd) producer.send(one).get(30, TimeUnit.SECONDS);
        }
        StringJoiner found = new StringJoiner(", ", "{\"records\": [", "]}");
        for (ConsumerRecord<byte[], byte[]> r : fetch(topic, 0, odd.size())) {
            StringJoiner headers = new StringJoiner(", ", "[", "]");
            for (Header h : r.headers()) headers.add("[\"" + h.key() + "\", " + hex(h.value()) + "]");
            found.add("{\"k\": " + hex(r.key()) + ", \"v\": " + hex(r.value()) + ", \"t\": " + r.timestamp() + ", \"h\": " + headers + "}");
        }
        return found.toString();
    }

    // ---- groups
    static final Map<String, Integer> seen = new HashMap<>();
    static int ends;

    static synchronized void saw(byte[] value) {
        String text = new String(value, StandardCharsets.UTF_8);
        if (text.equals("end")) ends++;
        else seen.merge(text, 1, Integer::sum);
    }

    static synchronized int ends() { return ends; }

    static class Member extends Thread implements ConsumerRebalanceListener {
        final KafkaConsumer<byte[], byte[]> consumer;
        final Set<Integer> partitions = new TreeSet<>();
        final boolean counts;
        int assignments;
        volatile int read;
        volatile boolean leave;

        Member(Map<String, Object> settings, boolean counts) {
            this.counts = counts;
            consumer = member(settings);
            setDaemon(true);
            start();
        }

        // The assignor answers with what is new; an empty answer is no change.
        @Override public synchronized void onPartitionsAssigned(Collection<TopicPartition> got) {
            if (!got.isEmpty()) assignments++;
            for (TopicPartition p : got) partitions.add(p.partition());
        }

        @Override public synchronized void onPartitionsRevoked(Collection<TopicPartition> lost) {
            for (TopicPartition p : lost) partitions.remove(p.partition());
        }

        synchronized List<Integer> now() { return new ArrayList<>(partitions); }
        synchronized int assignments() { return assignments; }

        @Override public void run() {
            consumer.subscribe(List.of(topic), this);
            while (!leave) {
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    if (counts) saw(r.value());
                    read++;
                }
            }
            consumer.close();
        }

        void close() throws Exception {
            leave = true;
            join(30000);
        }
    }

    static void until(String what, BooleanSupplier fact) throws Exception {
        for (long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(40); !fact.getAsBoolean(); Thread.sleep(20))
            if (System.nanoTime() > deadline) throw new IllegalStateException("not within 40 s: " + what);
    }

    static Map<String, Object> strategy() {
        if (argument == null) return Map.of();
        String name = Map.of("range", "Range", "roundrobin", "RoundRobin", "sticky", "Sticky", "cooperative", "CooperativeSticky").get(argument);
        return Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + name + "Assignor");
    }

    static String member() throws Exception {
        Member one = new Member(Map.of(), true);
        for (int had = 0; ends() < 6; Thread.sleep(20)) {
            int has = one.now().size();
            if (has != had) System.out.println("has " + (had = has));
        }
        one.close();
        return "{}";
    }

    static String pause() {
        TopicPartition there = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("max.poll.records", 10))) {
            consumer.assign(List.of(there));
            poll(consumer, 10);
            consumer.pause(List.of(there));
            int quiet = 0;
            for (long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(1); System.nanoTime() < end; ) quiet += consumer.poll(Duration.ofMillis(100)).count();
            consumer.seek(there, 20);
            consumer.resume(List.of(there));
            return "{\"quiet\": " + quiet + ", \"next\": " + poll(consumer, 1).get(0).offset() + "}";
        }
    }

    static String transaction() throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", group))) {
            producer.initTransactions();
            for (boolean commits : new boolean[] {false, true}) {
                producer.beginTransaction();
                for (int i = 0; i < 10; i++) producer.send(new ProducerRecord<>(topic, 0, key(i), value(i))).get(30, TimeUnit.SECONDS);
                if (commits) producer.commitTransaction();
                else producer.abortTransaction();
            }
        }
        List<ConsumerRecord<byte[], byte[]>> found = fetch(topic, 0, 10);
        return "{\"read\": " + found.size() + ", \"first\": " + found.get(0).offset() + "}";
    }

    static String large() throws Exception {
        String refused = "";
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("max.request.size", 2000000, "buffer.memory", 4000000))) {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[1000000])).get(30, TimeUnit.SECONDS);
            try {
                producer.send(new ProducerRecord<>(topic, 0, null, new byte[1100000])).get(30, TimeUnit.SECONDS);
            } catch (java.util.concurrent.ExecutionException failure) {
                refused = failure.getCause().toString();
            }
        }
        return "{\"read\": " + fetch(topic, 0, 1).get(0).value().length + ", \"refused\": \"" + refused.replace('"', ' ') + "\"}";
    }

    static String groupOfTwo() throws Exception {
        Member a = new Member(strategy(), true);
        until("the first member has 6 partitions", () -> a.now().size() == 6);
        Member b = new Member(strategy(), true);
        until("the two have 6 partitions together, and the second has read", () -> {
            List<Integer> ours = a.now(), theirs = b.now();
            return !ours.isEmpty() && !theirs.isEmpty() && ours.size() + theirs.size() == 6 && b.read > 0;
        });
        String shared = "[" + a.now().size() + ", " + b.now().size() + "]";
        b.close();
        until("the first member has 6 partitions again", () -> a.now().size() == 6);
        System.out.println("covered");
        until("six ends", () -> ends() >= 6);
        a.close();
        return "{\"alone\": 6, \"shared\": " + shared + ", \"again\": 6, \"seen\": " + seen.size() + ", \"most\": " + Collections.max(seen.values()) + "}";
    }

    static String resume() {
        Map<String, Object> settings = Map.of("enable.auto.commit", false, "max.poll.records", 40);
        TopicPartition there = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> first = member(settings)) {
            first.subscribe(List.of(topic));
            poll(first, 40);
            first.commitSync(Map.of(there, new OffsetAndMetadata(40)));
        }
        try (KafkaConsumer<byte[], byte[]> second = member(settings)) {
            second.subscribe(List.of(topic));
            List<ConsumerRecord<byte[], byte[]>> rest = new ArrayList<>(poll(second, 1));
            while (rest.get(rest.size() - 1).offset() < 99) rest.addAll(poll(second, 1));
            second.commitSync();
            return "{\"first\": " + rest.get(0).offset() + ", \"last\": " + rest.get(rest.size() - 1).offset() + "}";
        }
    }

    static String staticMembers() throws Exception {
        Member one = new Member(Map.of("group.instance.id", "one"), false), two = new Member(Map.of("group.instance.id", "two"), false);
        until("both have two partitions", () -> one.now().size() == 2 && two.now().size() == 2);
        List<Integer> before = two.now();
        int assignments = one.assignments();
        two.close(); // with an instance id it does not leave the group
        Member back = new Member(Map.of("group.instance.id", "two"), false);
        until("the second member has partitions again", () -> !back.now().isEmpty());
        Thread.sleep(1500); // a heartbeat of the first would tell it of a rebalance
        String answer = "{\"before\": " + before + ", \"after\": " + back.now() + ", \"disturbed\": " + (one.assignments() - assignments) + "}";
        back.close();
        one.close();
        return answer;
    }

    static String offsets() throws Exception {
        TopicPartition there = new TopicPartition(topic, 0);
        String answer = "{";
        try (Admin admin = admin()) {
            Map<String, OffsetSpec> asked = new LinkedHashMap<>();
            asked.put("earliest", OffsetSpec.earliest());
            asked.put("latest", OffsetSpec.latest());
            for (Map.Entry<String, OffsetSpec> one : asked.entrySet())
                answer += "\"" + one.getKey() + "\": " + admin.listOffsets(Map.of(there, one.getValue())).partitionResult(there).get().offset() + ", ";
        }
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(List.of(there));
            Map<String, Long> asked = new LinkedHashMap<>();
            asked.put("at", 1700000050000L);
            asked.put("between", 1700000050500L);
            asked.put("after", 1800000000000L);
            for (Map.Entry<String, Long> one : asked.entrySet()) {
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(there, one.getValue())).get(there);
                answer += "\"" + one.getKey() + "\": " + (found == null ? null : found.offset()) + ", ";
                if (one.getKey().equals("at")) consumer.seek(there, found.offset());
            }
            return answer + "\"read\": \"" + new String(poll(consumer, 1).get(0).key(), StandardCharsets.UTF_8) + "\"}";
        }
    }

    // ---- administration
    static Admin admin() { return Admin.create(Map.of("bootstrap.servers", bootstrap)); }

    static String administer() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            switch (capability) {
                case "create-topic": admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "3600000")))).all().get(); return "{}";
                case "describe-topic": {
                    TopicDescription found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                    Set<Integer> leaders = new TreeSet<>();
                    found.partitions().forEach(p -> leaders.add(p.leader().id()));
                    return "{\"partitions\": " + found.partitions().size() + ", \"leaders\": " + leaders + "}";
                }
                case "create-partitions": admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get(); return "{}";
                case "describe-config": return "{\"retention\": \"" + admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value() + "\"}";
                case "alter-config": {
                    AlterConfigOp set = new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET);
                    admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
                    return "{}";
                }
                case "delete-records": admin.deleteRecords(Map.of(new TopicPartition(topic, 0), RecordsToDelete.beforeOffset(40))).all().get(); return "{}";
                case "list-groups": {
                    List<String> names = new ArrayList<>();
                    admin.listConsumerGroups().all().get().forEach(found -> names.add(found.groupId()));
                    return "{\"groups\": " + quoted(names) + "}";
                }
                case "describe-group": {
                    ConsumerGroupDescription found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                    return "{\"state\": \"" + found.state() + "\", \"members\": " + found.members().size() + "}";
                }
                case "describe-cluster": {
                    DescribeClusterResult found = admin.describeCluster();
                    return "{\"nodes\": " + found.nodes().get().size() + ", \"controller\": " + found.controller().get().id() + "}";
                }
                case "group-offsets": {
                    Map<TopicPartition, OffsetAndMetadata> found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
                    return "{\"offset\": " + found.get(new TopicPartition(topic, 0)).offset() + "}";
                }
                case "alter-offsets": admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(3))).all().get(); return "{}";
                case "delete-group": admin.deleteConsumerGroups(List.of(group)).all().get(); return "{}";
                case "delete-topic": admin.deleteTopics(List.of(topic)).all().get(); return "{}";
                default: throw new IllegalArgumentException("no such capability: " + capability);
            }
        }
    }

    static String answer() throws Exception {
        switch (capability) {
            case "version": {
                Properties built = new Properties();
                built.load(Driver.class.getResourceAsStream("/kafka/kafka-version.properties"));
                return "{\"version\": \"" + built.getProperty("version") + "\"}";
            }
            case "none": case "gzip": case "snappy": case "lz4": case "zstd": return codec();
            case "records": case "null-header": return records();
            case "idempotent": write(Map.of("enable.idempotence", true)); return "{}";
            case "group": return groupOfTwo();
            case "resume": return resume();
            case "member": return member();
            case "pause": return pause();
            case "transaction": return transaction();
            case "large": return large();
            case "static": return staticMembers();
            case "offsets": return offsets();
            case "write": write(Map.of("compression.type", argument)); return "{}";
            case "read": {
                List<Integer> counts = new ArrayList<>();
                for (String name : argument.split(",")) counts.add(readCounted(name));
                return "{\"topics\": " + counts + "}";
            }
            default: return administer();
        }
    }

    public static void main(String[] words) {
        bootstrap = words[0];
        capability = words[1];
        topic = words[2];
        group = words[3];
        argument = words.length > 4 ? words[4] : null;
        try {
            System.out.println(answer());
            System.exit(0);
        } catch (Throwable failure) {
            while (failure instanceof java.util.concurrent.ExecutionException && failure.getCause() != null) failure = failure.getCause();
            System.err.println(failure.toString().replace('\n', ' '));
            System.exit(1);
        }
    }
}
