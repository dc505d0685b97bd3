import java.io.*;
import java.lang.reflect.*;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.config.*;
import org.apache.kafka.common.utils.Utils;

/* What Apache Kafka says of configurations, without starting it; test/configs has its words, for src/meta/config_kafka_test.c:
 *     javac -cp 'build/interop/server/*' -d build/interop test/interop/ConfigGolden.java
 *     java -cp 'build/interop/server/*:build/interop' ConfigGolden keys > test/configs/keys.tsv
 *
 *   keys            each key of each scope, a line: scope, name, type, default, importance, internal or public, mode
 *   values          for each key the values around the edges of what is allowed: scope, name, value, yes or no
 *   starts FILE     the values that a key may have for itself, in that file: name, value, yes or no, the sentence
 *   files FILE...   what KafkaConfig says of server.properties, one after another: the file, yes or no, the sentence
 * Fields are separated by tabs; \0 is null.
 */
public final class ConfigGolden {
    static Map<String, ConfigDef> scopes() throws Exception {
        Map<String, ConfigDef> out = new LinkedHashMap<>();
        out.put("broker", kafka.server.KafkaConfig.configDef());
        out.put("topic", (ConfigDef) constant("org.apache.kafka.storage.internals.log.LogConfig", "CONFIG"));
        out.put("group", (ConfigDef) constant("org.apache.kafka.coordinator.group.GroupConfig", "CONFIG_DEF"));
        out.put("client-metrics", (ConfigDef) constant("org.apache.kafka.server.metrics.ClientMetricsConfigs", "CONFIG"));
        return out;
    }

    static Object constant(String type, String name) throws Exception {
        Field field = Class.forName(type).getDeclaredField(name);
        field.setAccessible(true);
        return field.get(null);
    }

    static String text(Object value, ConfigDef.Type type) {
        return value == null ? "\\0" : value == ConfigDef.NO_DEFAULT_VALUE ? "(required)" : ConfigDef.convertToString(value, type);
    }

    static void keys() throws Exception {
        Map<String, String> modes = org.apache.kafka.server.config.DynamicBrokerConfig.dynamicConfigUpdateModes();
        for (Map.Entry<String, ConfigDef> scope : scopes().entrySet())
            for (ConfigDef.ConfigKey key : new TreeMap<>(scope.getValue().configKeys()).values())
                System.out.println(String.join("\t", scope.getKey(), key.name, key.type.toString().toLowerCase(), text(key.defaultValue, key.type),
                    key.importance.toString().toLowerCase(), key.internalConfig ? "internal" : "public",
                    scope.getKey().equals("broker") ? modes.getOrDefault(key.name, "read-only") : "cluster-wide"));
    }

    static Set<String> candidates(ConfigDef.ConfigKey key) {
        Set<String> out = new LinkedHashSet<>();
        Set<Long> edges = new TreeSet<>(Arrays.asList(0L, 32767L, 2147483647L, Long.MAX_VALUE));
        java.util.regex.Matcher numbers = java.util.regex.Pattern.compile("-?\\d+").matcher(key.validator == null ? "" : key.validator.toString());
        while (numbers.find()) edges.add(Long.parseLong(numbers.group()));
        for (long edge : List.copyOf(edges)) Collections.addAll(edges, edge - 1, edge + 1);
        edges.addAll(List.of(-1L, -32768L, -32769L, -2147483648L, -2147483649L, Long.MIN_VALUE));
        switch (key.type) {
            case INT: case SHORT: case LONG: case DOUBLE:
                for (long edge : edges) out.add(Long.toString(edge));
                Collections.addAll(out, "", "x", " 7 ", "+7", "1.0");
                if (key.type == ConfigDef.Type.DOUBLE) Collections.addAll(out, "0.5", "0.500001", "1.0000001", "-0.0000001", "1e3", "0x10", "1L", "NaN", "-Infinity", "1d", "1.5f", ".5", "5.", "1e400", "1e-400", "0x1p3");
                else Collections.addAll(out, " ", "0x10", "1_000", "9223372036854775808", "-9223372036854775809", "1L", "1e3");
                break;
            case BOOLEAN:
                Collections.addAll(out, "true", "false", "TRUE", "False", " true ", "", "yes", "1", "0", "on", "tru");
                break;
            default:
                Collections.addAll(out, "", " ", ",", "a", "a,b", "a,a", ",a", "a,", "a,,b", " a ", "*", "1:1", "1:1,2:2", "1:x", "-1:1", "1:1:1", "PLAINTEXT://a:1", "true", "null");
                for (String word : key.validator == null ? new String[0] : key.validator.toString().split("[^A-Za-z0-9_.:-]+"))
                    if (!word.isEmpty()) Collections.addAll(out, word, word.toUpperCase(), word.toLowerCase(), " " + word + " ", word + "," + word, word + "x", word + ",x");
                if (key.defaultValue != null && key.defaultValue != ConfigDef.NO_DEFAULT_VALUE) out.add(ConfigDef.convertToString(key.defaultValue, key.type));
                if (key.name.equals("share.auto.offset.reset"))
                    Collections.addAll(out, "by_duration:PT1H", "by_duration:P1D", "by_duration:1H", "by_duration:", "by_duration:PT-1H", "BY_DURATION:PT1H", "by_duration:P", "by_duration:PT", "by_duration:P1DT2H3M4.5S", "by_duration:P1Y", "by_duration:pt1h",
                    "by_duration:PT0S", "by_duration:-PT1H", "by_duration:P1H", "by_duration:PT1D");
        }
        return out;
    }

    static void values() throws Exception {
        for (Map.Entry<String, ConfigDef> scope : scopes().entrySet())
            for (ConfigDef.ConfigKey key : new TreeMap<>(scope.getValue().configKeys()).values()) {
                if (key.type == ConfigDef.Type.CLASS) continue; /* only a JVM knows what is one */
                StringBuilder yes = new StringBuilder(), no = new StringBuilder();
                for (String value : candidates(key)) {
                    boolean fine = true;
                    try {
                        new ConfigDef().define(key).parse(Map.of(key.name, value));
                    } catch (ConfigException e) {
                        fine = false;
                    }
                    (fine ? yes : no).append('\t').append(value);
                }
                System.out.println(scope.getKey() + "\t" + key.name + "\tyes" + yes);
                System.out.println(scope.getKey() + "\t" + key.name + "\tno" + no);
            }
    }

    static void files(String[] words) {
        for (int i = 1; i < words.length; i++) {
            String said = "yes\t";
            try {
                Properties given = Utils.loadProps(words[i]);
                kafka.server.KafkaConfig config = kafka.server.KafkaConfig.fromProps(given, false);
                said += "listeners " + config.listeners() + " advertised " + config.effectiveAdvertisedBrokerListeners();
            } catch (Throwable e) {
                said = "no\t" + e.getClass().getSimpleName() + ": " + e.getMessage();
            }
            System.out.println(Paths.get(words[i]).getFileName() + "\t" + said.replace('\n', ' '));
        }
    }

    /* The values that a key may have for itself, each in an otherwise plain file. */
    static void starts(String base) throws Exception {
        for (ConfigDef.ConfigKey key : new TreeMap<>(kafka.server.KafkaConfig.configDef().configKeys()).values()) {
            if (key.type == ConfigDef.Type.CLASS) continue;
            for (String value : candidates(key)) {
                String said = "yes\t";
                try {
                    new ConfigDef().define(key).parse(Map.of(key.name, value));
                } catch (ConfigException e) {
                    continue;
                }
                try {
                    Properties given = Utils.loadProps(base);
                    given.setProperty(key.name, value);
                    kafka.server.KafkaConfig.fromProps(given, false);
                } catch (Throwable e) {
                    said = "no\t" + e.getClass().getSimpleName() + ": " + e.getMessage();
                }
                System.out.println(key.name + "\t" + value + "\t" + said.replace('\n', ' '));
            }
        }
    }

    public static void main(String[] words) throws Exception {
        switch (words[0]) {
            case "keys": keys(); break;
            case "values": values(); break;
            case "starts": starts(words[1]); break;
            default: files(words);
        }
    }
}
