//! Version 1 of the HTTP interface as its clients speak it: plain JSON, nothing of ours.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::tools;

/// A client of version 1.
#[derive(Clone, Debug)]
pub struct V1 {
    http: reqwest::Client,
    base: String,
}

/// How to get to one's board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acquired {
    /// Address to connect to.
    pub host: String,
    /// Port to connect to.
    pub port: u16,
    /// Private key, PKCS#1 PEM.
    pub key: String,
    /// Account.
    pub user: String,
}

impl V1 {
    /// A client of the controller at `base`, like `http://127.0.0.1:8487`.
    pub fn new(base: &str) -> V1 {
        V1 { http: reqwest::Client::new(), base: format!("{base}/api/v1") }
    }

    /// Any call.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let call = self.http.request(method, format!("{}{path}", self.base));
        let call = match body {
            Some(body) => call.json(&body),
            None => call,
        };
        let answer = call.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let value = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{path}: {error}: {text}")),
        };
        (status, value)
    }

    /// `POST /reqs/`: asks for a board with these capabilities.
    pub async fn ask(&self, caps: Value) -> u64 {
        let (status, body) =
            self.call(Method::POST, "/reqs/", Some(json!({ "Priority": 8, "Caps": caps }))).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        body["ReqID"].as_u64().unwrap()
    }

    /// State of a request.
    pub async fn state(&self, request: u64) -> String {
        let (status, body) = self.call(Method::GET, &format!("/reqs/{request}"), None).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["State"].as_str().unwrap().to_owned()
    }

    /// `acquire_worker`; none as long as no job runs.
    pub async fn acquire(&self, request: u64) -> Option<Acquired> {
        let (status, body) = self.call(Method::POST, &format!("/reqs/{request}/acquire_worker"), None).await;
        if status == StatusCode::BAD_REQUEST {
            assert_eq!(body["message"], "invalid request: worker not assigned");
            return None;
        }
        assert_eq!(status, StatusCode::OK, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Some(Acquired {
            host: text(&body["Addr"]["IP"]),
            port: u16::try_from(body["Addr"]["Port"].as_u64().unwrap()).unwrap(),
            key: text(&body["Key"]),
            user: text(&body["Username"]),
        })
    }

    /// `close`.
    pub async fn close(&self, request: u64) {
        let (status, body) = self.call(Method::POST, &format!("/reqs/{request}/close"), None).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{body}");
    }
}

impl Acquired {
    /// Writes the key where ssh can read it.
    pub fn save_key(&self, file: &std::path::Path) {
        tools::write_private(file, &self.key);
    }
}
