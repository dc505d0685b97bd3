//! Driver of rskafka: partitions and topics; consumer groups and configs are not in it.
use chrono::{DateTime, Utc};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

const START_MS: i64 = 1_700_000_000_000;

struct Call {
    bootstrap: String,
    capability: String,
    topic: String,
    argument: String,
}

fn key(i: i64) -> Vec<u8> {
    format!("key-{i}").into_bytes()
}

fn value(i: i64) -> Vec<u8> {
    format!("value-{i}-{}", "abc".repeat((i % 100) as usize)).into_bytes()
}

fn time(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).expect("a time")
}

fn hex(data: Option<&[u8]>) -> String {
    data.map_or("null".into(), |data| format!("\"{}\"", data.iter().map(|b| format!("{b:02x}")).collect::<String>()))
}

async fn client(call: &Call) -> Fallible<Client> {
    Ok(ClientBuilder::new(vec![call.bootstrap.clone()]).build().await?)
}

async fn partition(call: &Call, topic: &str) -> Fallible<PartitionClient> {
    Ok(client(call).await?.partition_client(topic.to_owned(), 0, UnknownTopicHandling::Retry).await?)
}

async fn fetch(call: &Call, topic: &str, from: i64, count: usize) -> Fallible<Vec<RecordAndOffset>> {
    let (there, began, mut out) = (partition(call, topic).await?, Instant::now(), Vec::new());
    let mut next = from;
    while out.len() < count {
        if began.elapsed() > Duration::from_secs(30) {
            return Err(format!("only {} of {count} records came", out.len()).into());
        }
        let (records, _) = there.fetch_records(next, 1..10_000_000, 500).await?;
        out.extend(records);
        next = out.last().map_or(from, |last: &RecordAndOffset| last.offset + 1);
    }
    out.truncate(count);
    Ok(out)
}

async fn read(call: &Call, topic: &str, count: usize) -> Fallible<usize> {
    let found = fetch(call, topic, 0, count).await?;
    let right = |(o, r): &(usize, &RecordAndOffset)| {
        let i = (*o % 500) as i64;
        r.offset == *o as i64 && r.record.key == Some(key(i)) && r.record.value == Some(value(i))
    };
    Ok(found.iter().enumerate().filter(right).count())
}

async fn codec(call: &Call) -> Fallible<String> {
    let compression = match call.capability.as_str() {
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => Compression::NoCompression,
    };
    let all = (0..500).map(|i| Record { key: Some(key(i)), value: Some(value(i)), headers: BTreeMap::new(), timestamp: Utc::now() });
    partition(call, &call.topic).await?.produce(all.collect(), compression).await?;
    let (foreign, count) = call.argument.rsplit_once(':').ok_or("no NAME:COUNT")?;
    Ok(format!("{{\"own\": {}, \"foreign\": {}}}", read(call, &call.topic, 500).await?, read(call, foreign, count.parse()?).await?))
}

/// Its headers are a map: of two of one name it can keep the last only.
async fn records(call: &Call) -> Fallible<String> {
    let there = partition(call, &call.topic).await?;
    let odd: [(Option<&[u8]>, Option<&[u8]>, &[(&str, &str)]); 4] =
        [(Some(&[0, 255]), Some(b"v0"), &[("a", "a"), ("b", ""), ("a", "b")]), (None, Some(b"v1"), &[]), (Some(b"k2"), None, &[]), (Some(b""), Some(b""), &[])];
    for (i, (key, value, headers)) in odd.iter().enumerate() {
        let headers = headers.iter().map(|(name, data)| (name.to_string(), data.as_bytes().to_vec())).collect();
        let record = Record { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), headers, timestamp: time(START_MS + i as i64) };
        there.produce(vec![record], Compression::NoCompression).await?;
    }
    let mut out = Vec::new();
    for RecordAndOffset { record, .. } in fetch(call, &call.topic, 0, 4).await? {
        let headers: Vec<_> = record.headers.iter().map(|(name, data)| format!("[\"{name}\", {}]", hex(Some(data)))).collect();
        let (k, v) = (hex(record.key.as_deref()), hex(record.value.as_deref()));
        out.push(format!("{{\"k\": {k}, \"v\": {v}, \"t\": {}, \"h\": [{}]}}", record.timestamp.timestamp_millis(), headers.join(", ")));
    }
    Ok(format!("{{\"records\": [{}]}}", out.join(", ")))
}

async fn large(call: &Call) -> Fallible<String> {
    let there = partition(call, &call.topic).await?;
    let of = |size| vec![Record { key: None, value: Some(vec![0; size]), headers: BTreeMap::new(), timestamp: Utc::now() }];
    there.produce(of(1_000_000), Compression::NoCompression).await?;
    let refused = there.produce(of(1_100_000), Compression::NoCompression).await.err().map_or(String::new(), |e| e.to_string().replace(['"', '\n'], " "));
    let read = fetch(call, &call.topic, 0, 1).await?[0].record.value.as_ref().map_or(0, Vec::len);
    Ok(format!("{{\"read\": {read}, \"refused\": \"{refused}\"}}"))
}

async fn offsets(call: &Call) -> Fallible<String> {
    let there = partition(call, &call.topic).await?;
    let at = there.get_offset(OffsetAt::Timestamp(time(START_MS + 50_000))).await?;
    let between = there.get_offset(OffsetAt::Timestamp(time(START_MS + 50_500))).await?;
    // What is after all records it does not tell from a wrong answer.
    let after = there.get_offset(OffsetAt::Timestamp(time(1_800_000_000_000))).await.ok().filter(|offset| *offset >= 0);
    let (earliest, latest) = (there.get_offset(OffsetAt::Earliest).await?, there.get_offset(OffsetAt::Latest).await?);
    let first = fetch(call, &call.topic, at, 1).await?;
    let read = String::from_utf8(first[0].record.key.clone().unwrap_or_default())?;
    let after = after.map_or("null".into(), |offset| offset.to_string());
    Ok(format!("{{\"earliest\": {earliest}, \"latest\": {latest}, \"at\": {at}, \"between\": {between}, \"after\": {after}, \"read\": \"{read}\"}}"))
}

/// The version is the exact one that the manifest asks for.
fn version() -> String {
    let manifest = include_str!("../Cargo.toml");
    let of_it = manifest.split("rskafka = \"=").nth(1).and_then(|rest| rest.split('"').next());
    format!("{{\"version\": \"{}\"}}", of_it.unwrap_or("?"))
}

async fn run(call: &Call) -> Fallible<String> {
    let lacks = |why: &str| Ok(format!("{{\"lacks\": \"{why}\"}}"));
    match call.capability.as_str() {
        "version" => Ok(version()),
        "none" | "gzip" | "snappy" | "lz4" | "zstd" => codec(call).await,
        "records" => records(call).await,
        "large" => large(call).await,
        "offsets" => offsets(call).await,
        "create-topic" => lacks("it creates topics, but without configs"),
        "describe-topic" => lacks("it tells a topic's partitions, not their leaders"),
        "delete-topic" => {
            client(call).await?.controller_client()?.delete_topic(call.topic.clone(), 10_000).await?;
            Ok("{}".into())
        }
        "delete-records" => {
            partition(call, &call.topic).await?.delete_records(40, 10_000).await?;
            Ok("{}".into())
        }
        "null-header" => lacks("a header is bytes, never null"),
        "idempotent" => lacks("it has no idempotent producer"),
        "transaction" => lacks("it has no transactions"),
        "pause" => lacks("it has no consumers that could be paused"),
        "group" | "member" | "resume" | "static" => lacks("it has no consumer groups"),
        "list-groups" | "describe-group" | "delete-group" | "group-offsets" | "alter-offsets" => lacks("it has no calls for groups"),
        _ => lacks("it has no such call"),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let words: Vec<String> = std::env::args().collect();
    let word = |i: usize| words.get(i).cloned().unwrap_or_default();
    let call = Call { bootstrap: word(1), capability: word(2), topic: word(3), argument: word(5) };
    match run(&call).await {
        Ok(answer) => println!("{answer}"),
        Err(failure) => {
            eprintln!("{}", failure.to_string().replace('\n', " "));
            std::process::exit(1);
        }
    }
}
