//! The client matrix's driver for krafka: a client with groups, settings and administration, written in Rust throughout.
use std::time::Duration;

use krafka::admin::{ConfigOp, ConfigResource, NewTopic};
use krafka::consumer::{AutoOffsetReset, Consumer, ConsumerBuilder, ConsumerRecord};
use krafka::producer::Acks;
use krafka::{Compression, Kafka, Record};
use rust_clients::{Args, Lacks, Result, emit, emit_record, emit_version, exit, stdin_closed, steadily};
use serde_json::{Map, json};

const POLL: Duration = Duration::from_secs(1);
const REPLICATION_FACTOR: i16 = 1;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    exit(run(&Args::from_command_line()).await)
}

async fn run(args: &Args) -> Result {
    if args.verb == "version" {
        return emit_version("krafka");
    }
    let kafka = Kafka::builder(&args.bootstrap).connect().await?;
    match args.verb.as_str() {
        "produce" => produce(&kafka, args).await,
        "consume" => consume(&kafka, args).await,
        "group" => group(&kafka, args).await,
        "seek" => seek(&kafka, args).await,
        "create" => create(&kafka, args).await,
        "describe" => describe(&kafka, args).await,
        "alter" => alter(&kafka, args).await,
        "grow" => grow(&kafka, args).await,
        "delete" => delete(&kafka, args).await,
        "steady" => steady(&kafka, args).await,
        verb => Err(format!("no such verb: {verb}"))?,
    }
}

async fn produce(kafka: &Kafka, args: &Args) -> Result {
    let codec = match args.text("codec")? {
        "none" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Err(Lacks("no such codec"))?,
    };
    let mut builder = kafka.producer().acks(Acks::All).compression(codec).linger(Duration::from_millis(20));
    if let Ok(max) = args.number("max") {
        builder = builder.max_request_size(max);
    }
    let producer = builder.build().await?;
    let mut handles = Vec::new();
    for (key, value, n) in args.records()? {
        handles.push(producer.enqueue(Record::new(args.topic()?, value).key(key).header("n", n)).await?);
    }
    for handle in handles {
        let _sent = handle.await?;
    }
    Ok(producer.close().await?)
}

fn show(record: &ConsumerRecord) -> Result {
    emit_record(
        (record.partition, record.offset, record.timestamp),
        record.key.as_deref(),
        record.value.as_deref(),
        record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref().unwrap_or_default())),
    )
}

async fn alone(kafka: &Kafka, args: &Args) -> Result<Consumer> {
    let consumer = earliest(kafka.consumer_without_group()).build().await?;
    let mut partitions = Vec::new();
    for topic in consumer.fetch_metadata(Some(args.topic()?)).await?.topics {
        partitions.extend(topic.partitions.keys().copied());
    }
    consumer.assign(args.topic()?, partitions).await?;
    Ok(consumer)
}

fn earliest(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder.auto_offset_reset(AutoOffsetReset::Earliest)
}

async fn consume(kafka: &Kafka, args: &Args) -> Result {
    let mut left: usize = args.number("count")?;
    let consumer = alone(kafka, args).await?;
    while left > 0 {
        for record in consumer.poll(POLL).await?.iter().take(left) {
            show(record)?;
            left -= 1;
        }
    }
    Ok(consumer.close().await?)
}

async fn group(kafka: &Kafka, args: &Args) -> Result {
    let builder = earliest(kafka.consumer(args.text("group")?)).auto_commit_interval(Duration::from_millis(200));
    let consumer = builder.build().await?;
    consumer.subscribe([args.topic()?]).await?;
    let mut ended = std::pin::pin!(stdin_closed());
    loop {
        let polled = tokio::select! {
            () = &mut ended => break,
            polled = consumer.poll(POLL) => polled,
        };
        match polled {
            Ok(records) => records.iter().try_for_each(show)?,
            Err(error) => {
                eprintln!("poll: {error}: once more"); // the broker is away, maybe
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    Ok(consumer.close().await?)
}

async fn seek(kafka: &Kafka, args: &Args) -> Result {
    let (topic, consumer) = (args.topic()?, alone(kafka, args).await?);
    let mut awaited = Vec::new();
    for (partition, offset) in consumer.offsets_for_times_for_topic(topic, args.number("timestamp")?).await? {
        match offset? {
            -1 => consumer.seek_to_end(topic, partition).await?,
            offset => {
                consumer.seek(topic, partition, offset).await?;
                awaited.push(partition);
            }
        }
    }
    while !awaited.is_empty() {
        for record in consumer.poll(POLL).await? {
            if let Some(i) = awaited.iter().position(|p| *p == record.partition) {
                awaited.remove(i);
                show(&record)?;
            }
        }
    }
    Ok(consumer.close().await?)
}

async fn create(kafka: &Kafka, args: &Args) -> Result {
    let mut topic = NewTopic::new(args.topic()?, args.number("partitions")?, REPLICATION_FACTOR)?;
    for (name, value) in args.settings() {
        topic = topic.with_config(name, value);
    }
    each(kafka.admin().create_topics([topic], Default::default()).await?)
}

async fn describe(kafka: &Kafka, args: &Args) -> Result {
    let admin = kafka.admin();
    let mut partitions = 0;
    for description in admin.describe_topics([args.topic()?], Default::default()).await?.into_values() {
        partitions = description?.partitions.len();
    }
    let mut configs = Map::new();
    for entries in admin.describe_configs([ConfigResource::topic(args.topic()?)], Default::default()).await?.into_values() {
        configs.extend(entries?.into_iter().map(|entry| (entry.name, json!(entry.value))));
    }
    emit(json!({"partitions": partitions, "configs": configs}))
}

async fn alter(kafka: &Kafka, args: &Args) -> Result {
    let changes = args.settings().map(|(name, value)| ConfigOp::set(name, value)).collect();
    let resource = ConfigResource::topic(args.topic()?);
    each(kafka.admin().incremental_alter_configs([(resource, changes)], Default::default()).await?)
}

async fn grow(kafka: &Kafka, args: &Args) -> Result {
    let total = (args.topic()?, args.number("partitions")?);
    each(kafka.admin().create_partitions([total], Default::default()).await?)
}

async fn delete(kafka: &Kafka, args: &Args) -> Result {
    each(kafka.admin().delete_topics([args.topic()?], Default::default()).await?)
}

// The results of an administrative call come one by one.
fn each<K>(results: std::collections::HashMap<K, krafka::Result<()>>) -> Result {
    Ok(results.into_values().collect::<krafka::Result<()>>()?)
}

async fn steady(kafka: &Kafka, args: &Args) -> Result {
    let (topic, producer) = (args.topic()?, kafka.producer().acks(Acks::All).build().await?);
    steadily(async |value: String| {
        let sent = producer.send(Record::new(topic, value)).await?;
        Ok((sent.partition, sent.offset))
    })
    .await
}
