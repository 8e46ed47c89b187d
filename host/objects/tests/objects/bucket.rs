//! A bucket: the same as in a folder, over HTTP.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use grove_objects::{
    Artifacts, Backend, Error, Expected, Keeping, Kind, Logs, Name, Objects, Put, Quotas, S3,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use uuid::Uuid;

/// What is in the bucket; parts of what is not whole are under `KEY?NUMBER`.
type Kept = Arc<Mutex<BTreeMap<String, Bytes>>>;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const QUOTAS: Quotas = Quotas {
    artifact: 20 << 20,
    group: 20 << 20,
    count: 10,
    unused: SignedDuration::from_hours(1),
    total: 20 << 20,
};

/// As much of S3 as is spoken to.
async fn answer(kept: Kept, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
    assert!(headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=id/"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let key = uri.path().trim_start_matches("/lab").trim_start_matches('/').to_owned();
    let query = uri.query().unwrap_or_default();
    let mut kept = kept.lock().unwrap();
    let mut answer = Response::new(Full::default());
    answer.headers_mut().insert("etag", "\"tag\"".parse().unwrap());
    if method == Method::GET && key.is_empty() {
        let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
        let prefix = prefix.replace("%2F", "/");
        let below = kept.iter().filter(|(key, _)| key.starts_with(&prefix));
        let contents = below.map(|(key, bytes)| {
            let size = bytes.len();
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                 <ETag>tag</ETag><Size>{size}</Size></Contents>"
            )
        });
        let contents: String = contents.collect();
        let list = format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>");
        *answer.body_mut() = Full::from(list);
    } else if method == Method::POST && query.starts_with("uploads") {
        let begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
        *answer.body_mut() = Full::from(begun);
    } else if method == Method::POST {
        let parts: Vec<String> =
            kept.keys().filter(|part| part.starts_with(&format!("{key}?"))).cloned().collect();
        let whole: Vec<u8> = parts.iter().flat_map(|part| kept.remove(part).unwrap()).collect();
        kept.insert(key, whole.into());
        let done = "<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>";
        *answer.body_mut() = Full::from(done);
    } else if method == Method::PUT {
        let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber="));
        kept.insert(number.map_or(key.clone(), |number| format!("{key}?{number}")), body);
    } else if method == Method::DELETE {
        kept.retain(|known, _| known != &key && !known.starts_with(&format!("{key}?")));
        *answer.status_mut() = StatusCode::NO_CONTENT;
    } else if let Some(bytes) = kept.get(&key) {
        answer.headers_mut().insert("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".parse().unwrap());
        let mut bytes = bytes.clone();
        if let Some(range) = headers.get("range") {
            let (first, last) = range.to_str().unwrap().trim_start_matches("bytes=").split_once('-').unwrap();
            let text = format!("bytes {first}-{last}/{}", bytes.len());
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            bytes = bytes.slice(first..=last);
            answer.headers_mut().insert("content-range", text.parse().unwrap());
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        *answer.body_mut() = Full::from(bytes);
    } else {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(answer)
}

async fn bucket() -> (Kept, Objects) {
    let kept = Kept::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let shared = kept.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let kept = shared.clone();
            let service = service_fn(move |request| answer(kept.clone(), request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let s3 = S3 {
        bucket: "lab".to_owned(),
        prefix: "grove".to_owned(),
        endpoint: Some(endpoint),
        region: "r".to_owned(),
        key: Some(("id".to_owned(), "key".to_owned())),
    };
    (kept, Objects::open(Backend::S3(s3)).unwrap())
}

#[tokio::test]
async fn artifacts_and_logs_are_in_the_bucket() {
    let (kept, objects) = bucket().await;
    let artifacts = Artifacts::new(objects.clone(), QUOTAS);
    artifacts.load().await.unwrap();
    let name = Name::new("rpi4", "a/b").unwrap();
    let image: Vec<u8> = (0..6 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from(image.clone()))]);
    let (artifact, put) = artifacts.put(&name, &Expected::Any, None, None, body, NOW).await.unwrap();
    assert_eq!((artifact.size, put), (6 << 20, Put::Created));
    let logs = Logs::new(objects.clone(), Keeping::default());
    let log = logs.begin(Uuid::from_u128(7));
    log.say(NOW, Kind::Log, "info", "hello");
    log.close();
    logs.finish(std::time::Duration::from_secs(60)).await;
    let keys: Vec<String> = kept.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("grove/")), "{keys:?}");

    let artifacts = Artifacts::new(objects.clone(), QUOTAS);
    artifacts.load().await.unwrap();
    let (found, body) = artifacts.read(&name, 5 << 20..u64::MAX, NOW).await.unwrap();
    let read: Vec<Bytes> = body.try_collect().await.unwrap();
    assert_eq!((found, read.concat()), (artifact, image[5 << 20..].to_vec()));
    let read = Logs::new(objects, Keeping::default()).read(Uuid::from_u128(7), 0).await.unwrap();
    assert_eq!(read.lines.len(), 1);
    artifacts.remove(&name, &Expected::Any).await.unwrap();
    assert!(matches!(artifacts.stat(&name, NOW), Err(Error::NotFound)));
    assert_eq!(kept.lock().unwrap().len(), 1, "the log");
}
