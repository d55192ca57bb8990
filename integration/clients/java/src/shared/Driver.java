import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * The driver of the Java clients: it does, verb by verb, what the comment in ../../../../doc.go tells, in the way that a
 * user of the library would. It is compiled for each release of it; what they call differently is in Described.
 */
public final class Driver {
    /** How long a poll waits for records. */
    private static final Duration POLL = Duration.ofMillis(500);
    /** The pause between the records of steady. */
    private static final long PAUSE_MILLIS = 5;

    private static final PrintStream OUT = new PrintStream(System.out, true, UTF_8);

    private final String bootstrap;
    private final Map<String, String> args = new TreeMap<>();

    private Driver(String bootstrap, List<String> args) {
        this.bootstrap = bootstrap;
        for (String arg : args) {
            String[] pair = arg.split("=", 2);
            this.args.put(pair[0], pair[1]);
        }
    }

    public static void main(String[] argv) {
        List<String> args = Arrays.asList(argv);
        try {
            new Driver(args.get(0), args.subList(2, args.size())).run(args.get(1));
        } catch (Exception e) {
            e.printStackTrace();
            System.exit(1);
        }
    }

    private void run(String verb) throws Exception {
        switch (verb) {
            case "version" -> version();
            case "produce" -> produce();
            case "consume" -> consume("read_uncommitted");
            case "group" -> group();
            case "seek" -> seek();
            case "create" -> create();
            case "describe" -> describe();
            case "alter" -> alter();
            case "grow" -> grow();
            case "delete" -> delete();
            case "steady" -> steady();
            case "transact" -> transact();
            case "committed" -> consume("read_committed");
            case "transform" -> transform();
            default -> throw new IllegalArgumentException("there is no verb " + verb);
        }
    }

    private static void version() throws IOException {
        Properties told = new Properties();
        try (InputStream of = KafkaProducer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
            told.load(of);
        }
        OUT.printf("{\"client\":\"kafka-clients\",\"version\":%s}%n", json(told.getProperty("version")));
    }

    private void produce() throws Exception {
        String topic = take("topic");
        int count = Integer.parseInt(take("count"));
        int size = Integer.parseInt(take("size"));
        Properties props = producing();
        props.put(ProducerConfig.COMPRESSION_TYPE_CONFIG, take("codec"));
        props.put(ProducerConfig.LINGER_MS_CONFIG, 100);
        if (args.containsKey("max")) {
            props.put(ProducerConfig.MAX_REQUEST_SIZE_CONFIG, take("max"));
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(props)) {
            for (int i = 0; i < count; i++) {
                String value = "v" + i;
                value += ".".repeat(Math.max(0, size - value.length()));
                RecordHeader header = new RecordHeader("n", Integer.toString(i).getBytes(UTF_8));
                sent.add(producer.send(new ProducerRecord<>(topic, null, "k" + i, value, List.of(header))));
            }
            for (Future<RecordMetadata> each : sent) {
                each.get();
            }
        }
    }

    private void steady() throws Exception {
        String topic = take("topic");
        Thread ending = onEndOfInput(() -> {});
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(producing())) {
            for (int i = 0; ending.isAlive(); ) {
                String value = "s" + i;
                try {
                    RecordMetadata at = producer.send(new ProducerRecord<>(topic, value)).get();
                    OUT.printf("{\"partition\":%d,\"offset\":%d,\"value\":%s}%n", at.partition(), at.offset(), json(value));
                    i++;
                } catch (ExecutionException e) {
                    System.err.println("again: " + e.getCause()); // the producer itself has given up
                }
                Thread.sleep(PAUSE_MILLIS);
            }
        }
    }

    private void transact() throws Exception {
        String topic = take("topic");
        String id = take("id");
        Thread ending = onEndOfInput(() -> {});
        KafkaProducer<String, String> producer = null;
        for (int i = 0; ending.isAlive(); i++) {
            boolean commit = i % 3 != 2;
            try {
                if (producer == null) {
                    producer = transactional(id);
                }
                producer.beginTransaction();
                for (int j = 0; j < 3; j++) {
                    producer.send(new ProducerRecord<>(topic, Integer.toString(j), "t" + i + "." + j));
                }
                producer.flush(); // what fails makes the commit fail
                if (commit) {
                    producer.commitTransaction();
                } else {
                    producer.abortTransaction();
                }
                OUT.printf("{\"value\":\"%s%d\"}%n", commit ? "c" : "a", i);
            } catch (KafkaException e) {
                System.err.println("transaction " + i + ": " + e);
                producer = aborted(producer);
            }
            Thread.sleep(PAUSE_MILLIS);
        }
        if (producer != null) {
            producer.close();
        }
    }

    private void transform() throws Exception {
        String to = take("to");
        String id = take("id");
        Properties props = consuming();
        props.put(ConsumerConfig.GROUP_ID_CONFIG, take("group"));
        props.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        props.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false");
        props.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed");
        Thread ending = onEndOfInput(() -> {});
        KafkaProducer<String, String> producer = null;
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(props)) {
            consumer.subscribe(List.of(take("topic")));
            while (ending.isAlive()) {
                ConsumerRecords<String, String> records = consumer.poll(POLL);
                if (records.isEmpty()) {
                    continue;
                }
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                try {
                    if (producer == null) {
                        producer = transactional(id);
                    }
                    producer.beginTransaction();
                    for (ConsumerRecord<String, String> record : records) {
                        producer.send(new ProducerRecord<>(to, record.key(), "=" + record.value()));
                        next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                    }
                    producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
                    producer.commitTransaction();
                } catch (KafkaException e) {
                    System.err.println("transform: " + e);
                    producer = aborted(producer);
                    rewind(consumer);
                }
            }
        }
        if (producer != null) {
            producer.close();
        }
    }

    /** Has a consumer read again what it has not committed. */
    private static void rewind(KafkaConsumer<String, String> consumer) {
        Set<TopicPartition> assigned = consumer.assignment();
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(assigned);
        for (TopicPartition partition : assigned) {
            OffsetAndMetadata at = committed.get(partition);
            consumer.seek(partition, at == null ? 0 : at.offset());
        }
    }

    private KafkaProducer<String, String> transactional(String id) {
        Properties props = producing();
        props.put(ProducerConfig.TRANSACTIONAL_ID_CONFIG, id);
        KafkaProducer<String, String> producer = new KafkaProducer<>(props);
        try {
            producer.initTransactions();
        } catch (KafkaException e) {
            producer.close(Duration.ZERO);
            throw e;
        }
        return producer;
    }

    /** Aborts what has failed. It returns the producer, if it can go on. */
    private static KafkaProducer<String, String> aborted(KafkaProducer<String, String> producer) {
        if (producer == null) {
            return null;
        }
        try {
            producer.abortTransaction();
            return producer;
        } catch (KafkaException | IllegalStateException e) {
            System.err.println("abort: " + e);
            producer.close(Duration.ZERO);
            return null;
        }
    }

    private Properties producing() {
        Properties props = new Properties();
        props.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        props.put(ProducerConfig.ACKS_CONFIG, "all");
        props.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, StringSerializer.class.getName());
        props.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, StringSerializer.class.getName());
        return props;
    }

    private void consume(String isolation) {
        int count = Integer.parseInt(take("count"));
        Properties props = consuming();
        props.put(ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation);
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(props)) {
            List<TopicPartition> partitions = partitions(consumer, take("topic"));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            while (count > 0) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    if (count-- > 0) {
                        print(record);
                    }
                }
            }
        }
    }

    private void group() {
        Properties props = consuming();
        props.put(ConsumerConfig.GROUP_ID_CONFIG, take("group"));
        props.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        props.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "true");
        props.put(ConsumerConfig.AUTO_COMMIT_INTERVAL_MS_CONFIG, "200");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(props)) {
            consumer.subscribe(List.of(take("topic")));
            onEndOfInput(consumer::wakeup);
            while (true) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    print(record);
                }
            }
        } catch (WakeupException e) {
            return; // closing has committed and left
        }
    }

    private void seek() {
        long timestamp = Long.parseLong(take("timestamp"));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consuming())) {
            Map<TopicPartition, Long> wanted = partitions(consumer, take("topic")).stream()
                    .collect(Collectors.toMap(p -> p, p -> timestamp));
            Set<TopicPartition> missing = new HashSet<>();
            Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(wanted);
            consumer.assign(wanted.keySet());
            found.forEach((partition, at) -> {
                if (at == null) { // no record is that young
                    consumer.pause(List.of(partition));
                } else {
                    consumer.seek(partition, at.offset());
                    missing.add(partition);
                }
            });
            while (!missing.isEmpty()) {
                for (ConsumerRecord<String, String> record : consumer.poll(POLL)) {
                    if (missing.remove(new TopicPartition(record.topic(), record.partition()))) {
                        print(record);
                    }
                }
            }
        }
    }

    private Properties consuming() {
        Properties props = new Properties();
        props.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        props.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class.getName());
        props.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, StringDeserializer.class.getName());
        return props;
    }

    private static List<TopicPartition> partitions(KafkaConsumer<String, String> consumer, String topic) {
        return consumer.partitionsFor(topic).stream().map(p -> new TopicPartition(p.topic(), p.partition())).toList();
    }

    private void create() throws Exception {
        NewTopic topic = new NewTopic(take("topic"), Optional.of(Integer.valueOf(take("partitions"))), Optional.empty());
        try (Admin admin = admin()) {
            admin.createTopics(List.of(topic.configs(args))).all().get(); // the configs are what is left
        }
    }

    private void describe() throws Exception {
        String topic = take("topic");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin()) {
            int partitions = Described.topic(admin, topic).partitions().size();
            String configs = admin.describeConfigs(List.of(resource)).all().get().get(resource).entries().stream()
                    .map(entry -> json(entry.name()) + ":" + json(entry.value()))
                    .collect(Collectors.joining(",", "{", "}"));
            OUT.printf("{\"partitions\":%d,\"configs\":%s}%n", partitions, configs);
        }
    }

    private void alter() throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, take("topic"));
        List<AlterConfigOp> ops = new ArrayList<>();
        args.forEach((name, value) -> ops.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        try (Admin admin = admin()) {
            admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
        }
    }

    private void grow() throws Exception {
        NewPartitions partitions = NewPartitions.increaseTo(Integer.parseInt(take("partitions")));
        try (Admin admin = admin()) {
            admin.createPartitions(Map.of(take("topic"), partitions)).all().get();
        }
    }

    private void delete() throws Exception {
        try (Admin admin = admin()) {
            admin.deleteTopics(List.of(take("topic"))).all().get();
        }
    }

    private Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    /** The argument's value; it is taken out, so that the configs are left. */
    private String take(String name) {
        String value = args.remove(name);
        if (value == null) {
            throw new IllegalArgumentException("there is no " + name + "=");
        }
        return value;
    }

    /** Runs something when standard input ends, in a thread that ends then. */
    private static Thread onEndOfInput(Runnable then) {
        Thread thread = new Thread(() -> {
            try {
                System.in.transferTo(PrintStream.nullOutputStream());
            } catch (IOException e) {
                System.err.println("standard input: " + e);
            }
            then.run();
        });
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private static void print(ConsumerRecord<String, String> record) {
        List<String> headers = new ArrayList<>();
        record.headers().forEach(h -> headers.add(json(h.key()) + ":" + json(new String(h.value(), UTF_8))));
        OUT.printf("{\"partition\":%d,\"offset\":%d,\"timestamp\":%d,\"key\":%s,\"value\":%s,\"headers\":{%s}}%n", record.partition(),
                record.offset(), record.timestamp(), json(record.key()), json(record.value()), String.join(",", headers));
    }

    /** A text as JSON has it. */
    private static String json(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder quoted = new StringBuilder("\"");
        text.chars().forEach(c -> {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append((char) c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", c));
            } else {
                quoted.append((char) c);
            }
        });
        return quoted.append('"').toString();
    }
}
