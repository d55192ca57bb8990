//! The client matrix's driver for rskafka: a log to write and to read, with no groups, and no settings of topics.
use chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use rust_clients::{Args, Lacks, Result, emit_record, emit_version, exit, steadily};

const BATCH_BYTES: usize = 500_000; // below any broker's limit: the library sends what it is given as one batch
const FETCH_BYTES: std::ops::Range<i32> = 1..1_000_000;
const FETCH_WAIT_MS: i32 = 1000;
const REPLICATION_FACTOR: i16 = 1;
const ADMIN_TIMEOUT_MS: i32 = 5000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    exit(run(&Args::from_command_line()).await)
}

async fn run(args: &Args) -> Result {
    match args.verb.as_str() {
        "version" => emit_version("rskafka"),
        "group" => Err(Lacks("rskafka has no consumer groups"))?,
        "describe" | "alter" => Err(Lacks("rskafka knows no settings of topics"))?,
        "grow" => Err(Lacks("rskafka adds no partitions"))?,
        verb => {
            let client = ClientBuilder::new(vec![args.bootstrap.clone()]).build().await?;
            match verb {
                "produce" => produce(&client, args).await,
                "consume" => consume(&client, args).await,
                "seek" => seek(&client, args).await,
                "create" => create(&client, args).await,
                "delete" => Ok(client.controller_client()?.delete_topic(args.topic()?, ADMIN_TIMEOUT_MS).await?),
                "steady" => steady(&client, args).await,
                _ => Err(format!("no such verb: {verb}"))?,
            }
        }
    }
}

async fn partition(client: &Client, args: &Args, index: i32) -> Result<PartitionClient> {
    Ok(client.partition_client(args.topic()?, index, UnknownTopicHandling::Retry).await?)
}

async fn partitions(client: &Client, args: &Args) -> Result<Vec<PartitionClient>> {
    let topic = args.topic()?;
    let topics = client.list_topics().await?;
    let found = topics.into_iter().find(|t| t.name == topic).ok_or_else(|| format!("there is no topic {topic}"))?;
    let mut clients = Vec::new();
    for index in found.partitions {
        clients.push(partition(client, args, index).await?);
    }
    Ok(clients)
}

async fn produce(client: &Client, args: &Args) -> Result {
    let codec = match args.text("codec")? {
        "none" => Compression::NoCompression,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Err(Lacks("no such codec"))?,
    };
    let partition = partition(client, args, 0).await?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (key, value, n) in args.records()? {
        let record = Record {
            key: Some(key.into_bytes()),
            value: Some(value.into_bytes()),
            headers: [("n".to_string(), n.into_bytes())].into(),
            timestamp: Utc::now(),
        };
        let size = record.approximate_size();
        if bytes + size > BATCH_BYTES {
            partition.produce(std::mem::take(&mut batch), codec).await?;
            bytes = 0;
        }
        bytes += size;
        batch.push(record);
    }
    partition.produce(batch, codec).await?;
    Ok(())
}

fn show(partition: i32, RecordAndOffset { record, offset }: &RecordAndOffset) -> Result {
    emit_record(
        (partition, *offset, record.timestamp.timestamp_millis()),
        record.key.as_deref(),
        record.value.as_deref(),
        record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())),
    )
}

async fn consume(client: &Client, args: &Args) -> Result {
    let mut left: usize = args.number("count")?;
    for partition in partitions(client, args).await? {
        let mut offset = partition.get_offset(OffsetAt::Earliest).await?;
        while left > 0 && offset < partition.get_offset(OffsetAt::Latest).await? {
            let (records, _) = partition.fetch_records(offset, FETCH_BYTES, FETCH_WAIT_MS).await?;
            for record in records.iter().take(left) {
                show(partition.partition(), record)?;
                offset = record.offset + 1;
                left -= 1;
            }
        }
    }
    if left > 0 { Err(format!("the topic has {left} records too few"))? }
    Ok(())
}

async fn seek(client: &Client, args: &Args) -> Result {
    let at = DateTime::from_timestamp_millis(args.number("timestamp")?).ok_or("no such time")?;
    for partition in partitions(client, args).await? {
        let offset = partition.get_offset(OffsetAt::Timestamp(at)).await?;
        if offset < 0 || offset == partition.get_offset(OffsetAt::Latest).await? {
            continue;
        }
        let (records, _) = partition.fetch_records(offset, FETCH_BYTES, FETCH_WAIT_MS).await?;
        show(partition.partition(), records.first().ok_or("nothing was read")?)?;
    }
    Ok(())
}

async fn create(client: &Client, args: &Args) -> Result {
    if args.settings().next().is_some() {
        Err(Lacks("rskafka creates topics with no settings"))?
    }
    let partitions = args.number("partitions")?;
    Ok(client.controller_client()?.create_topic(args.topic()?, partitions, REPLICATION_FACTOR, ADMIN_TIMEOUT_MS).await?)
}

async fn steady(client: &Client, args: &Args) -> Result {
    let partition = partition(client, args, 0).await?;
    steadily(async |value: String| {
        let record = Record { key: None, value: Some(value.into_bytes()), headers: Default::default(), timestamp: Utc::now() };
        let offsets = partition.produce(vec![record], Compression::NoCompression).await?;
        Ok((partition.partition(), offsets[0]))
    })
    .await
}
