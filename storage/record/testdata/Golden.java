// Writes the batches of golden.txt with Kafka's own classes, one to a line: its name and its bytes in hex.
// Run with kafka-clients 4.4.0 and the codecs it depends on in the class path: java Golden.java > golden.txt
// With a file in that form as its argument it reads the file instead and prints what the batches hold.

import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.internals.BufferSupplier;

public class Golden {
    static final long T = 1700000000000L;

    public static void main(String[] args) throws Exception {
        if (args.length > 0) {
            read(args[0]);
            return;
        }
        Compression none = Compression.NONE;
        print("plain", build(none, TimestampType.CREATE_TIME, false, few()));
        print("gzip", build(Compression.gzip().build(), TimestampType.CREATE_TIME, false, few()));
        print("snappy", build(Compression.snappy().build(), TimestampType.CREATE_TIME, false, few()));
        print("lz4", build(Compression.lz4().build(), TimestampType.CREATE_TIME, false, few()));
        print("zstd", build(Compression.zstd().build(), TimestampType.CREATE_TIME, false, few()));
        print("zstd-22", build(Compression.zstd().level(22).build(), TimestampType.CREATE_TIME, false, few()));
        print("transactional", build(none, TimestampType.CREATE_TIME, true, few()));
        print("append-time", build(none, TimestampType.LOG_APPEND_TIME, false, few()));
        print("large-gzip", build(Compression.gzip().level(9).build(), TimestampType.CREATE_TIME, false, many()));
        print("large-snappy", build(Compression.snappy().build(), TimestampType.CREATE_TIME, false, many()));
        print("large-lz4", build(Compression.lz4().level(17).build(), TimestampType.CREATE_TIME, false, many()));
        print("large-zstd", build(Compression.zstd().build(), TimestampType.CREATE_TIME, false, many()));
        print("commit", MemoryRecords.withEndTransactionMarker(100, T, 5, 7, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)).buffer());
        print("abort", MemoryRecords.withEndTransactionMarker(100, T, 5, 7, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 9)).buffer());
        print("compacted", filter(Set.of(1L, 2L)));
        print("emptied", filter(Set.of(0L, 1L, 2L)));
        // Each is filtered at T + 100000 with a delete retention of 1000: horizons are T + 101000.
        ByteBuffer plain = build(none, TimestampType.CREATE_TIME, false, few());
        ByteBuffer appended = build(none, TimestampType.LOG_APPEND_TIME, false, few());
        ByteBuffer marker = MemoryRecords.withEndTransactionMarker(100, T, 5, 7, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 9)).buffer();
        ByteBuffer horizon = filter(plain, Set.of(), false);
        print("filtered-horizon", horizon);
        print("filtered-first", filter(plain, Set.of(0L), false));
        print("filtered-tombstone", filter(plain, Set.of(2L), false));
        print("filtered-no-tombstone", filter(plain, Set.of(1L, 2L), false));
        print("filtered-append-time", filter(appended, Set.of(0L), false));
        print("filtered-append-time-plain", filter(appended, Set.of(0L, 2L), false));
        print("filtered-again", filter(horizon, Set.of(1L), false));
        print("filtered-marker", filter(marker, Set.of(), true));
        print("filtered-marker-gone", filter(marker, Set.of(0L), true));
    }

    static SimpleRecord[] few() {
        return new SimpleRecord[] {
            new SimpleRecord(T, "key".getBytes(), "value".getBytes(), new Header[] {
                new RecordHeader("h", "1".getBytes()), new RecordHeader("", new byte[0]), new RecordHeader("h", (byte[]) null)}),
            new SimpleRecord(T + 70000, null, "no key".getBytes()),
            new SimpleRecord(T - 1, "tombstone".getBytes(), null),
        };
    }

    static SimpleRecord[] many() {
        SimpleRecord[] records = new SimpleRecord[1000];
        for (int i = 0; i < records.length; i++) {
            byte[] value = new byte[150];
            Arrays.fill(value, (byte) ('a' + i % 26));
            records[i] = new SimpleRecord(T + i, Integer.toString(i).getBytes(), value);
        }
        return records;
    }

    static ByteBuffer build(Compression c, TimestampType type, boolean transactional, SimpleRecord[] records) {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 16), RecordBatch.CURRENT_MAGIC_VALUE, c, type,
            100, T + 90000, 7, (short) 3, Integer.MAX_VALUE - 1, transactional, 5);
        for (SimpleRecord r : records)
            b.append(r);
        return b.build().buffer();
    }

    // Compacts what build has made of few: the records at these indexes go.
    static ByteBuffer filter(Set<Long> without) {
        return filter(build(Compression.NONE, TimestampType.CREATE_TIME, false, few()), without, without.size() == 2);
    }

    static ByteBuffer filter(ByteBuffer from, Set<Long> without, boolean markerExpires) {
        MemoryRecords records = MemoryRecords.readableRecords(from.duplicate());
        ByteBuffer out = ByteBuffer.allocate(1 << 16);
        records.filterTo(new MemoryRecords.RecordFilter(T + 100000, 1000) {
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, markerExpires);
            }

            protected boolean shouldRetainRecord(RecordBatch batch, org.apache.kafka.common.record.internal.Record r) {
                return !without.contains(r.offset() - 100);
            }
        }, out, BufferSupplier.NO_CACHING, Integer.MAX_VALUE);
        out.flip();
        return out;
    }

    static void print(String name, ByteBuffer b) {
        byte[] bytes = new byte[b.remaining()];
        b.duplicate().get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }

    static void read(String file) throws Exception {
        for (String line : Files.readAllLines(Path.of(file))) {
            String[] parts = line.split(" ");
            for (MutableRecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(parts[1]))).batches()) {
                batch.ensureValid();
                System.out.println(parts[0] + " " + batch);
                long n = 0, sum = 0;
                for (var r : batch) {
                    n++;
                    sum = sum * 31 + r.hashCode();
                }
                System.out.println("  " + n + " records, hash " + sum);
            }
        }
    }
}
