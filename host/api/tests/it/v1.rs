//! What golden files cannot say of v1.

use axum::body::Body;
use http::Request;

use crate::kit::Kit;

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_are_replaced() {
    let kit = Kit::new().await;
    let body = b"{\"Priority\":8,\"Caps\":{\"a\xff\":\"\xc3\xa9\xe2\x80\"}}".to_vec();
    let request = Request::post("/api/v1/reqs/").body(Body::from(body)).unwrap();
    assert_eq!(kit.send(request).await.status, 201);
    let caps = &kit.get("/api/v1/reqs/1").await.json()["Caps"];
    assert_eq!(caps["a\u{fffd}"], "é\u{fffd}\u{fffd}");
}

#[tokio::test(start_paused = true)]
async fn caps_are_bounded() {
    let kit = Kit::new().await;
    for caps in [
        format!(r#"{{"{}":"x"}}"#, "k".repeat(129)),
        format!(r#"{{"k":"{}"}}"#, "v".repeat(1025)),
        format!("{{{}}}", (0..257).map(|n| format!(r#""{n}":"""#)).collect::<Vec<_>>().join(",")),
    ] {
        let answer = kit.post("/api/v1/reqs/", &format!(r#"{{"Priority":8,"Caps":{caps}}}"#)).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.text().starts_with(r#"{"message":"invalid request: Caps may hold 256"#),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn long_lists_come_whole_and_in_order() {
    let kit = Kit::new().await;
    for number in 0..5000 {
        let body = format!(r#"{{"Priority":{}}}"#, number % 16 + 1);
        assert_eq!(kit.post("/api/v1/reqs/", &body).await.status, 201);
    }
    let all = kit.post("/api/v1/reqs/list", "").await;
    assert_eq!(all.header("boruta-list-total"), Some("5000"));
    assert_eq!(all.json().as_array().unwrap().len(), 5000);

    // By priority, page after page, backwards: everything once, in order.
    let mut seen = Vec::new();
    let mut anchor = 0;
    loop {
        let body = format!(
            r#"{{"Sorter":{{"Item":"priority"}},"Paginator":{{"ID":{anchor},"Direction":"backward","Limit":700}}}}"#
        );
        let page = kit.post("/api/v1/reqs/list", &body).await;
        let items = page.json().as_array().unwrap().clone();
        let Some(first) = items.first() else { break };
        anchor = first["ID"].as_u64().unwrap();
        let keys =
            items.iter().map(|item| (item["Priority"].as_u64().unwrap(), item["ID"].as_u64().unwrap()));
        seen.splice(0..0, keys);
        let remaining: usize = page.header("boruta-list-remaining").unwrap().parse().unwrap();
        assert_eq!(remaining, 5000 - seen.len());
    }
    assert_eq!(seen.len(), 5000);
    assert!(seen.is_sorted());
}
